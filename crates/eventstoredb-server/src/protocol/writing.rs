//! Generated from `proto/writing.proto`; see `tests/protocol.rs`.

#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Target {
    #[prost(message, optional, tag = "1")]
    pub stream: ::core::option::Option<super::shared::StreamIdentifier>,
    #[prost(oneof = "target::Expected", tags = "2, 3, 4, 5")]
    pub expected: ::core::option::Option<target::Expected>,
    #[prost(oneof = "target::Deadline", tags = "6, 7")]
    pub deadline: ::core::option::Option<target::Deadline>,
}
/// Nested message and enum types in `Target`.
pub mod target {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Expected {
        #[prost(uint64, tag = "2")]
        Revision(u64),
        #[prost(message, tag = "3")]
        NoStream(super::super::shared::Empty),
        #[prost(message, tag = "4")]
        Any(super::super::shared::Empty),
        #[prost(message, tag = "5")]
        StreamExists(super::super::shared::Empty),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Deadline {
        #[prost(message, tag = "6")]
        Until(super::super::shared::Time),
        #[prost(message, tag = "7")]
        Within(super::super::shared::Time),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ProposedEvent {
    #[prost(message, optional, tag = "1")]
    pub id: ::core::option::Option<super::shared::Uuid>,
    #[prost(map = "string, string", tag = "2")]
    pub metadata: ::std::collections::HashMap<
        ::prost::alloc::string::String,
        ::prost::alloc::string::String,
    >,
    #[prost(bytes = "bytes", tag = "3")]
    pub custom_metadata: ::prost::bytes::Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct AppendRequest {
    #[prost(oneof = "append_request::Content", tags = "1, 2")]
    pub content: ::core::option::Option<append_request::Content>,
}
/// Nested message and enum types in `AppendRequest`.
pub mod append_request {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Content {
        #[prost(message, tag = "1")]
        Target(super::Target),
        #[prost(message, tag = "2")]
        Event(super::ProposedEvent),
    }
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct AppendReply {
    #[prost(oneof = "append_reply::Result", tags = "1, 2")]
    pub result: ::core::option::Option<append_reply::Result>,
}
/// Nested message and enum types in `AppendReply`.
pub mod append_reply {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Result {
        #[prost(message, tag = "1")]
        Success(super::Success),
        #[prost(message, tag = "2")]
        WrongExpectedVersion(super::WrongExpectedVersion),
    }
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct Success {
    #[prost(oneof = "success::Current", tags = "1, 2")]
    pub current: ::core::option::Option<success::Current>,
    #[prost(oneof = "success::Place", tags = "3, 4")]
    pub place: ::core::option::Option<success::Place>,
}
/// Nested message and enum types in `Success`.
pub mod success {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Current {
        #[prost(uint64, tag = "1")]
        Revision(u64),
        #[prost(message, tag = "2")]
        NoStream(super::super::shared::Empty),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Place {
        #[prost(message, tag = "3")]
        Position(super::super::shared::LogPosition),
        #[prost(message, tag = "4")]
        NoPosition(super::super::shared::Empty),
    }
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct WrongExpectedVersion {
    #[prost(oneof = "wrong_expected_version::OldCurrent", tags = "1, 2")]
    pub old_current: ::core::option::Option<wrong_expected_version::OldCurrent>,
    #[prost(oneof = "wrong_expected_version::OldExpected", tags = "3, 4, 5")]
    pub old_expected: ::core::option::Option<wrong_expected_version::OldExpected>,
    #[prost(oneof = "wrong_expected_version::Current", tags = "6, 7")]
    pub current: ::core::option::Option<wrong_expected_version::Current>,
    #[prost(oneof = "wrong_expected_version::Expected", tags = "8, 9, 10, 11")]
    pub expected: ::core::option::Option<wrong_expected_version::Expected>,
}
/// Nested message and enum types in `WrongExpectedVersion`.
pub mod wrong_expected_version {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum OldCurrent {
        #[prost(uint64, tag = "1")]
        OldCurrentRevision(u64),
        #[prost(message, tag = "2")]
        OldNoStream(super::super::shared::Empty),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum OldExpected {
        #[prost(uint64, tag = "3")]
        OldExpectedRevision(u64),
        #[prost(message, tag = "4")]
        OldAny(super::super::shared::Empty),
        #[prost(message, tag = "5")]
        OldStreamExists(super::super::shared::Empty),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Current {
        #[prost(uint64, tag = "6")]
        CurrentRevision(u64),
        #[prost(message, tag = "7")]
        CurrentNoStream(super::super::shared::Empty),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Expected {
        #[prost(uint64, tag = "8")]
        ExpectedRevision(u64),
        #[prost(message, tag = "9")]
        ExpectedAny(super::super::shared::Empty),
        #[prost(message, tag = "10")]
        ExpectedStreamExists(super::super::shared::Empty),
        #[prost(message, tag = "11")]
        ExpectedNoStream(super::super::shared::Empty),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct BatchAppendRequest {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: ::core::option::Option<super::shared::Uuid>,
    #[prost(message, optional, tag = "2")]
    pub target: ::core::option::Option<Target>,
    #[prost(message, repeated, tag = "3")]
    pub events: ::prost::alloc::vec::Vec<ProposedEvent>,
    #[prost(bool, tag = "4")]
    pub is_final: bool,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct BatchAppendReply {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: ::core::option::Option<super::shared::Uuid>,
    #[prost(message, optional, tag = "4")]
    pub stream: ::core::option::Option<super::shared::StreamIdentifier>,
    #[prost(oneof = "batch_append_reply::Result", tags = "2, 3")]
    pub result: ::core::option::Option<batch_append_reply::Result>,
}
/// Nested message and enum types in `BatchAppendReply`.
pub mod batch_append_reply {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Result {
        #[prost(message, tag = "2")]
        Error(super::super::shared::Status),
        #[prost(message, tag = "3")]
        Success(super::Success),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeleteRequest {
    #[prost(message, optional, tag = "1")]
    pub target: ::core::option::Option<Target>,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct DeleteReply {
    #[prost(oneof = "delete_reply::Place", tags = "1, 2")]
    pub place: ::core::option::Option<delete_reply::Place>,
}
/// Nested message and enum types in `DeleteReply`.
pub mod delete_reply {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Place {
        #[prost(message, tag = "1")]
        Position(super::super::shared::LogPosition),
        #[prost(message, tag = "2")]
        NoPosition(super::super::shared::Empty),
    }
}
