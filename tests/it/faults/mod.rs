//! The faults of HTTP servers, caches and proxies, each under the number that the tests are named after.

mod breaks;
mod framing;
mod ranges;
mod redirects;
mod versions;
