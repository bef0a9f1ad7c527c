//! What Fairway's tests share. Nothing here uses the code under test.

pub mod packet;
