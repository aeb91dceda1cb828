//! The whole program from outside: the real binary against scripted servers.

mod alternates;
mod crash;
mod digests;
mod ends;
mod faults;
mod happy;
mod harness;
mod input;
mod library;
mod mirror;
mod names;
mod origin;
mod regress;
mod resume;
mod security;
mod serial;
mod serve;
mod stall;
mod stream;
mod talk;
mod target;
mod tls;
mod torture;
mod ways;
