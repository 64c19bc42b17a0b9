//! microsoft-simulator
