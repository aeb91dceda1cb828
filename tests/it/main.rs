//! The whole program from outside: the real binary against scripted servers.

mod origin;
