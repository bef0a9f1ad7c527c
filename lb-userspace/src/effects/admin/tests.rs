//! Tests of the admin side over real sockets.
