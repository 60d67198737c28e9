//! Why a set could not be made.

use std::{error, fmt, io};

#[derive(Debug)]
pub enum SampleError {
    /// An option is out of its range; the text says which and what is allowed.
    Options(&'static str),
    UnknownDialect(String),
    UnknownFaultKind(String),
    /// The set could not be written.
    Io(io::Error),
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(rule) => f.write_str(rule),
            Self::UnknownDialect(name) => write!(f, "unknown dialect: {name}"),
            Self::UnknownFaultKind(name) => write!(f, "unknown kind of fault: {name}"),
            Self::Io(error) => write!(f, "the sample set could not be written: {error}"),
        }
    }
}

impl error::Error for SampleError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SampleError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<::csv::Error> for SampleError {
    fn from(error: ::csv::Error) -> Self {
        Self::Io(error.into())
    }
}

impl From<zip::result::ZipError> for SampleError {
    fn from(error: zip::result::ZipError) -> Self {
        Self::Io(error.into())
    }
}
