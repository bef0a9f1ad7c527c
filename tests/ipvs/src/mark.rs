//! How `ipvs-guest` frames the texts that it writes among whatever else the virtual machine's console says.

/// Before a file's name.
pub const BEGIN: &str = "ipvs-record-begin ";
/// Before each line of its text.
pub const LINE: &str = "ipvs-record:";
/// After the text.
pub const END: &str = "ipvs-record-end";
