//! Generated from `proto/shared.proto`; see `tests/protocol.rs`.

#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct Empty {}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Uuid {
    #[prost(oneof = "uuid::Value", tags = "1, 2")]
    pub value: ::core::option::Option<uuid::Value>,
}
/// Nested message and enum types in `Uuid`.
pub mod uuid {
    #[derive(Clone, Copy, PartialEq, ::prost::Message)]
    pub struct Halves {
        #[prost(int64, tag = "1")]
        pub most_significant: i64,
        #[prost(int64, tag = "2")]
        pub least_significant: i64,
    }
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Value {
        #[prost(message, tag = "1")]
        Structured(Halves),
        #[prost(string, tag = "2")]
        String(::prost::alloc::string::String),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub name: ::prost::bytes::Bytes,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct LogPosition {
    #[prost(uint64, tag = "1")]
    pub commit: u64,
    #[prost(uint64, tag = "2")]
    pub prepare: u64,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct Time {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: ::prost::alloc::string::String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "3")]
    pub details: ::core::option::Option<Any>,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct WrongExpectedVersion {
    #[prost(oneof = "wrong_expected_version::Current", tags = "1, 2")]
    pub current: ::core::option::Option<wrong_expected_version::Current>,
    #[prost(oneof = "wrong_expected_version::Expected", tags = "3, 4, 5, 6")]
    pub expected: ::core::option::Option<wrong_expected_version::Expected>,
}
/// Nested message and enum types in `WrongExpectedVersion`.
pub mod wrong_expected_version {
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Current {
        #[prost(uint64, tag = "1")]
        CurrentRevision(u64),
        #[prost(message, tag = "2")]
        CurrentNoStream(super::Empty),
    }
    #[derive(Clone, Copy, PartialEq, ::prost::Oneof)]
    pub enum Expected {
        #[prost(uint64, tag = "3")]
        ExpectedRevision(u64),
        #[prost(message, tag = "4")]
        ExpectedAny(super::Empty),
        #[prost(message, tag = "5")]
        ExpectedStreamExists(super::Empty),
        #[prost(message, tag = "6")]
        ExpectedNoStream(super::Empty),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StreamDeleted {
    #[prost(message, optional, tag = "1")]
    pub stream: ::core::option::Option<StreamIdentifier>,
}
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct MaximumAppendSizeExceeded {
    #[prost(uint32, tag = "1")]
    pub limit_bytes: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct BadRequest {
    #[prost(string, tag = "1")]
    pub message: ::prost::alloc::string::String,
}
