//! The whole program from outside: the real binary against scripted servers.

mod alternates;
mod digests;
mod ends;
mod framing;
mod happy;
mod harness;
mod input;
mod library;
mod names;
mod origin;
mod ranges;
mod redirects;
mod refusals;
mod regress;
mod serial;
mod serve;
mod signals;
mod stream;
mod talk;
mod target;
mod tls;
mod torture;
mod transient;
mod validators;
mod ways;
