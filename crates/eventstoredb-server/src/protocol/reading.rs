//! Generated from `proto/reading.proto`; see `tests/protocol.rs`.

#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ReadRequest {
    #[prost(message, optional, tag = "1")]
    pub options: ::core::option::Option<ReadOptions>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ReadOptions {
    #[prost(int32, tag = "3")]
    pub direction: i32,
    #[prost(bool, tag = "4")]
    pub resolve_links: bool,
    #[prost(message, optional, tag = "9")]
    pub uuid_option: ::core::option::Option<UuidOption>,
    #[prost(message, optional, tag = "10")]
    pub control_option: ::core::option::Option<ControlOption>,
    #[prost(oneof = "read_options::What", tags = "1, 2")]
    pub what: ::core::option::Option<read_options::What>,
    #[prost(oneof = "read_options::HowMuch", tags = "5, 6")]
    pub how_much: ::core::option::Option<read_options::HowMuch>,
    #[prost(oneof = "read_options::Filtering", tags = "7, 8")]
    pub filtering: ::core::option::Option<read_options::Filtering>,
}
/// Nested message and enum types in `ReadOptions`.
pub mod read_options {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum What {
        #[prost(message, tag = "1")]
        Stream(super::StreamOptions),
        #[prost(message, tag = "2")]
        All(super::AllOptions),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum HowMuch {
        #[prost(uint64, tag = "5")]
        Count(u64),
        #[prost(message, tag = "6")]
        Subscription(super::super::shared::Empty),
    }
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Filtering {
        #[prost(message, tag = "7")]
        Filter(super::FilterOptions),
        #[prost(message, tag = "8")]
        NoFilter(super::super::shared::Empty),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StreamOptions {
    #[prost(message, optional, tag = "1")]
    pub stream: ::core::option::Option<super::shared::StreamIdentifier>,
    #[prost(oneof = "stream_options::From", tags = "2, 3, 4")]
    pub from: ::core::option::Option<stream_options::From>,
}
/// Nested message and enum types in `StreamOptions`.
pub mod stream_options {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum From {
        #[prost(uint64, tag = "2")]
        Revision(u64),
        #[prost(message, tag = "3")]
        Start(super::super::shared::Empty),
        #[prost(message, tag = "4")]
        End(super::super::shared::Empty),
    }
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct AllOptions {
    #[prost(oneof = "all_options::From", tags = "1, 2, 3")]
    pub from: ::core::option::Option<all_options::From>,
}
/// Nested message and enum types in `AllOptions`.
pub mod all_options {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum From {
        #[prost(message, tag = "1")]
        Position(super::super::shared::LogPosition),
        #[prost(message, tag = "2")]
        Start(super::super::shared::Empty),
        #[prost(message, tag = "3")]
        End(super::super::shared::Empty),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct FilterOptions {
    #[prost(uint32, tag = "5")]
    pub checkpoint_interval_multiplier: u32,
    #[prost(oneof = "filter_options::By", tags = "1, 2")]
    pub by: ::core::option::Option<filter_options::By>,
    #[prost(oneof = "filter_options::Window", tags = "3, 4")]
    pub window: ::core::option::Option<filter_options::Window>,
}
/// Nested message and enum types in `FilterOptions`.
pub mod filter_options {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum By {
        #[prost(message, tag = "1")]
        StreamName(super::Expression),
        #[prost(message, tag = "2")]
        EventType(super::Expression),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Window {
        #[prost(uint32, tag = "3")]
        Max(u32),
        #[prost(message, tag = "4")]
        Count(super::super::shared::Empty),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Expression {
    #[prost(string, tag = "1")]
    pub regex: ::prost::alloc::string::String,
    #[prost(string, repeated, tag = "2")]
    pub prefix: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct UuidOption {
    #[prost(oneof = "uuid_option::Content", tags = "1, 2")]
    pub content: ::core::option::Option<uuid_option::Content>,
}
/// Nested message and enum types in `UuidOption`.
pub mod uuid_option {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Content {
        #[prost(message, tag = "1")]
        Structured(super::super::shared::Empty),
        #[prost(message, tag = "2")]
        String(super::super::shared::Empty),
    }
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct ControlOption {
    #[prost(uint32, tag = "1")]
    pub compatibility: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ReadReply {
    #[prost(oneof = "read_reply::Content", tags = "1, 2, 3, 4, 5, 6, 8")]
    pub content: ::core::option::Option<read_reply::Content>,
}
/// Nested message and enum types in `ReadReply`.
pub mod read_reply {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Content {
        #[prost(message, tag = "1")]
        Event(super::ReadEvent),
        #[prost(message, tag = "2")]
        Confirmation(super::Confirmation),
        #[prost(message, tag = "3")]
        Checkpoint(super::Checkpoint),
        #[prost(message, tag = "4")]
        StreamNotFound(super::StreamNotFound),
        #[prost(uint64, tag = "5")]
        FirstStreamPosition(u64),
        #[prost(uint64, tag = "6")]
        LastStreamPosition(u64),
        #[prost(message, tag = "8")]
        CaughtUp(super::CaughtUp),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ReadEvent {
    #[prost(message, optional, tag = "1")]
    pub event: ::core::option::Option<RecordedEvent>,
    #[prost(uint64, tag = "3")]
    pub commit_position: u64,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct RecordedEvent {
    #[prost(message, optional, tag = "1")]
    pub id: ::core::option::Option<super::shared::Uuid>,
    #[prost(message, optional, tag = "2")]
    pub stream: ::core::option::Option<super::shared::StreamIdentifier>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, tag = "4")]
    pub prepare_position: u64,
    #[prost(uint64, tag = "5")]
    pub commit_position: u64,
    #[prost(message, repeated, tag = "6")]
    pub metadata: ::prost::alloc::vec::Vec<Property>,
    #[prost(bytes = "bytes", tag = "7")]
    pub custom_metadata: ::prost::bytes::Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    pub data: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Property {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: ::prost::bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Confirmation {
    #[prost(string, tag = "1")]
    pub subscription_id: ::prost::alloc::string::String,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct Checkpoint {
    #[prost(uint64, tag = "1")]
    pub commit: u64,
    #[prost(uint64, tag = "2")]
    pub prepare: u64,
    #[prost(message, optional, tag = "3")]
    pub timestamp: ::core::option::Option<super::shared::Time>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StreamNotFound {
    #[prost(message, optional, tag = "1")]
    pub stream: ::core::option::Option<super::shared::StreamIdentifier>,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct CaughtUp {
    #[prost(message, optional, tag = "1")]
    pub timestamp: ::core::option::Option<super::shared::Time>,
    #[prost(int64, optional, tag = "2")]
    pub stream_revision: ::core::option::Option<i64>,
    #[prost(message, optional, tag = "3")]
    pub position: ::core::option::Option<super::shared::LogPosition>,
}
