//! Fairway tests
