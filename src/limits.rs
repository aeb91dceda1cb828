//! Every bound of the program on one page, each with its reason. Nothing queues, loops or grows without one
//! of these.

use std::time::Duration;

/// The unit of memory, disk write, retry and resume, in bytes, unless `--block-size` says otherwise.
pub const BLOCK_SIZE_DEFAULT: u64 = 1 << 20;
/// The smallest block in bytes: a page, and the coarsest alignment O_DIRECT asks for on common file systems.
pub const BLOCK_SIZE_MIN: u64 = 4 << 10;
/// The largest block in bytes. Larger ones only cost memory.
pub const BLOCK_SIZE_MAX: u64 = 64 << 20;

/// Most connections to one origin that a user may ask for.
pub const CONNECTIONS_MAX: u16 = 256;
/// Connections of the library unless told otherwise.
pub const CONNECTIONS_DEFAULT: u16 = 10;
/// Where `--connections auto` begins, and the most it goes to by itself.
pub const CONNECTIONS_AUTO_FIRST: u16 = 4;
/// The most connections `--connections auto` opens by itself, while each raise brings more (browsers use 6,
/// aria2 users 8 to 16). Where a server caps each at 20 MB/s, 16 would leave a fifth of 400 MB/s unused.
pub const CONNECTIONS_AUTO_MAX: u16 = 32;
/// Windows of a mapped file that wait to be populated; more would be filled before their turn comes. One
/// ahead of each lane takes a third off the CPU time of a mapped download, and a fifth off its wall time.
pub const POPULATE_AHEAD: usize = 16;
/// Most lane threads.
pub const THREADS_MAX: u16 = 64;

/// Blocks that the first request asks for: it is probe and first data in one, and must not cost much if it
/// turns out that the file has to be fetched in one stream.
pub const PROBE_BLOCKS: u32 = 8;
/// Round trips that the transfer of a lease should take at least, so that the gap between requests does not
/// show.
pub const LEASE_ROUND_TRIPS: f64 = 50.0;
/// Blocks that are worth taking over from a lane that falls behind: it loses its connection by it.
pub const RECALL_BLOCKS_MIN: u32 = 4;
/// Lanes that may fill one block at the same time, when the first is late: a second and, should that one be
/// late as well, a third. What the losers have received is the price.
pub const COPIES_MAX: u32 = 3;
/// A block is late when it takes this many times as long as the lane that asks needs for one. Connections
/// that share a path often differ by a factor of two or three, and none of them should lose its last block by
/// it.
pub const LATE_BLOCKS: u32 = 4;
/// No block is late before this time: Linux sends a lost packet again after 200 ms at the earliest, and a
/// single loss at the end should not be paid for with a block. Also how often an idle lane looks.
pub const LATE_MIN: Duration = Duration::from_millis(250);
/// A block is late after this time at the earliest where the lane that asks has not fetched one yet.
pub const LATE_UNKNOWN: Duration = Duration::from_secs(3);
/// Time that such a lane is thought to need for a block: a small file that comes slowly but surely, over a
/// line that all connections share, must not be asked for twice.
pub const OWN_UNKNOWN: Duration = Duration::from_secs(30);
/// Bytes below which an attempt counts as one without progress.
pub const PROGRESS_BYTES_MIN: u64 = 64 << 10;
/// Most blocks of one file (file size / block size): the plan keeps a bit and a lease for each.
pub const BLOCKS_MAX: u32 = 1 << 30;
/// Blocks of one lane on their way into the sink, where no pool bounds them: what a kill may cost beside the
/// blocks that are being filled.
pub const WRITES_MAX: usize = 8;
/// Memory of all block pools of a process together, in bytes; pools shrink to it, but never below
/// one block a lane and two more.
pub const POOL_BYTES_MAX: u64 = 40 << 20;
/// Blocks a lane would like to have: one that fills, and the rest on their way to the disk.
pub const POOL_BLOCKS_PER_LANE: u32 = 4;

/// Entries of a lane thread's submission queue. Each lane has one receive with its timeout and a few writes
/// in flight.
pub const RING_ENTRIES: u32 = 256;
/// Entries of the ring where the limit on locked memory refuses more.
pub const RING_ENTRIES_MIN: u32 = 64;
/// Helper threads that write blocks for one lane thread of the epoll backend.
pub const EPOLL_WRITERS: usize = 4;

/// Most bytes of one response head, all interim responses included. curl allows 300 KiB, hyper 408 KiB.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header fields of one response head.
pub const HEAD_FIELDS_MAX: usize = 128;
/// Most interim (1xx) responses before the final one.
pub const INTERIM_MAX: u32 = 16;
/// Most bytes of all heads of one redirect chain.
pub const HEAD_CHAIN_BYTES_MAX: usize = 300 << 10;

/// Redirects that are followed unless `--max-redirs` says otherwise (wget's number; curl's is 50).
pub const REDIRECTS_DEFAULT: u32 = 20;
/// Time to resolve, connect and finish the TLS handshake.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
/// Time without a single byte before a connection is given up.
pub const STALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Bytes per second below which a connection counts as stalled although a byte comes now and then: at this
/// rate a single block would take hours.
pub const CRAWL_RATE: u64 = 64;
/// Time over which a rate must be that low, if the time without a byte is not set longer.
pub const CRAWL_TIME: Duration = Duration::from_secs(10);
/// Time over which the rate of a lane is compared with that of the others.
pub const SLOW_WINDOW: Duration = Duration::from_secs(1);
/// Such times in a row that a lane must be too slow: two seconds outlast three packets lost in a row, whose
/// timeouts double from 200 ms on.
///
/// Measured with eight connections of 4 MiB/s each and 320 MiB (`benches/straggler.rs`, ten interleaved
/// rounds): with one of them at a hundredth the download takes 1.05 times as long (1.00 to 1.08), on io_uring
/// and epoll, and no byte is fetched twice.
pub const SLOW_WINDOWS: u32 = 2;
/// Time that an answer has to begin, at least, while other connections are at work: a request that is lost
/// with a connection gone dead is sent again over a fresh one. A first packet lost twice has come through by
/// then.
pub const ANSWER_LATE_MIN: Duration = Duration::from_secs(4);
/// Share of the median of the others below which a lane is too slow. It brings next to nothing then, so that
/// a fresh connection can only do better.
pub const SLOW_SHARE: f64 = 0.05;
/// Times that one lease gets a fresh connection because its own is too slow or does not answer: where that
/// does not help, the server is to blame or the path, and others take the lease over.
pub const SLOW_MAX: u32 = 2;
/// Attempts after the first that a run of failures without any progress may cost.
pub const RETRIES_DEFAULT: u32 = 8;
/// Retries of a server that has never been reached in this download and refuses to be.
pub const FIRST_CONNECTS_MAX: u32 = 2;
/// Answers in a row that do not hold the range before a file is asked for in one stream, which costs what has
/// landed.
pub const ODD_ANSWERS_MAX: u32 = 1;
/// Refusals of a range that are tried again where others of the file were answered: a server that allows few
/// connections counts those that are just closing.
pub const REFUSALS_MAX: u32 = 2;
/// First wait between attempts; it doubles with each.
pub const RETRY_WAIT_FIRST: Duration = Duration::from_millis(250);
/// Longest wait between attempts.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is honoured; beyond it the download ends with the server's refusal.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Times a typed URL is asked again for a fresh address, after the one it had led to refused, without
/// progress in between: a fresh address that refuses at once seldom means it otherwise a little later.
pub const RENEWALS_MAX: u32 = 3;
/// Times a download starts anew because the file changed on the server, the last time in one stream.
pub const RESTARTS_MAX: u32 = 3;
/// Fresh connections tried free of charge when a kept-alive one turns out dead before the first response byte
/// (curl's CONN_MAX_RETRIES).
pub const STALE_CONNECTIONS_MAX: u32 = 5;

/// Delay before the next address is tried while one does not answer (RFC 8305 section 5).
pub const ADDRESS_DELAY: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 16;
/// Names whose working addresses a `Client` remembers: a mirror has a handful, a redirector a few dozen.
pub const NAMES_MAX: usize = 64;
/// Longest that a receive waits before the lane looks up: the bound on noticing a stall.
pub const RECEIVE_SLICE: Duration = Duration::from_millis(500);
/// Ciphertext read at once under TLS, in bytes; rustls alone would ask for 4 to 18 KiB at a time.
pub const TLS_READ_BYTES: usize = 256 << 10;
/// Time whose worth of bytes the kernel may hold under a rate limit, of all connections together: what it
/// holds the wire has carried before its turn. The full rate over a round trip of 100 ms takes 100 ms' worth,
/// and the kernel's own books may take more than the half that it allows for them, or much less.
///
/// Measured by `scripts/networks`, kernel 6.18, with 20 and 2 MiB/s on one and four connections, near and
/// over 100 ms: in no 2 s does the wire carry more than 2 to 5 % above the limit. With buffers left to the
/// kernel it was 19 to 128 %.
pub const RECEIVE_BUFFER_TIME: Duration = Duration::from_millis(125);
/// The smallest receive buffer asked for, in bytes: five packets, with which TCP notices a lost one at once.
pub const RECEIVE_BUFFER_MIN: u64 = 8 << 10;
/// The largest receive buffer asked for, in bytes: Linux grants 208 KiB by default, from 6.17 on 4 MiB
/// (`net.core.rmem_max`). Where it grants less than is asked for, the buffer is left to grow by itself.
pub const RECEIVE_BUFFER_MAX: u64 = 4 << 20;
/// How often the number of connections is judged by what they bring.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Idle connections that a `Client` keeps, and those that the threads of a mirror keep.
pub const IDLE_MAX: usize = 256;
/// Files that the end of a download may have to open: a directory to sync, and a few of libraries.
pub const FILES_SPARE: usize = 4;
/// Origins whose HTTP/2 connections a thread keeps, beside those in use.
pub const HTTP2_ORIGINS_MAX: usize = 64;
/// Bytes that a server may send of one HTTP/2 stream before some are taken: all of most small files.
pub const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
/// The same of all streams of a connection: at 100 ms it bounds one to 160 MB/s. Memory is taken for what has
/// come and waits for its task, which writes it at once.
pub const HTTP2_CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes that are asked of a socket at once where a head and a body of some KiB are expected together.
pub const NEAR_READ_BYTES: usize = 16 << 10;
/// Requests that may wait for each other's answers on one HTTP/1.1 connection: as many as are in flight of a
/// thread by default, and one more read.
pub const PIPELINE_DEPTH_MAX: usize = 8;
/// The longest body that is waited for in such a line; whoever is behind a long one waits in vain.
pub const PIPELINED_BODY_MAX: u64 = 64 << 10;
/// Bytes that are asked of a socket at once where several answers are expected.
pub const PIPELINE_READ_BYTES: usize = 64 << 10;
/// Origins that a thread has such lines to, beside those in use.
pub const PIPELINE_ORIGINS_MAX: usize = 64;
/// Pause between two answers in a line beyond which several connections are faster.
pub const PIPELINE_PAUSE: Duration = Duration::from_millis(2);
/// Time without a byte after which those who wait in line ask over connections of their own.
pub const PIPELINE_PATIENCE: Duration = Duration::from_secs(2);
/// Time for which an origin that was not fast this way is asked over several connections only.
pub const PIPELINE_DOUBT: Duration = Duration::from_secs(60);
/// Age beyond which an idle connection is not used again; servers commonly close after 60 to 75 s.
pub const IDLE_AGE_MAX: Duration = Duration::from_secs(50);
/// Bytes in front of the one asked for that are received in vain: caches answer ranges that begin at their
/// own blocks.
pub const SKIP_BYTES_MAX: u64 = 16 << 20;
/// Time that the last chunk of a body may take behind its last byte before its connection is given up: a
/// fresh one costs about as much.
pub const LAST_CHUNK_WAIT: Duration = Duration::from_millis(100);
/// Bytes of an unwanted body that are read so that its connection can be used again.
pub const DRAIN_BYTES_MAX: u64 = 16 << 10;

/// Events that wait for a report before the oldest is dropped.
pub const EVENTS_MAX: usize = 1024;
/// How long a stopped download waits for its threads. Programs promise to be gone within 2 s of a signal.
pub const STOP_GRACE: Duration = Duration::from_secs(1);
/// Times a file under a digest starts anew for a validator that differs before validators count no more.
pub const DISTRUST_AFTER: u32 = 2;
/// Blocks that wait for the digest thread.
pub const DIGEST_QUEUE: usize = 4;
/// Longest wait for the first answer with which blocks are hashed in their turn over several lanes: leases
/// are short then, since no lane may be further ahead than there is memory. At this wait and 1 Gbit/s the
/// gaps between them cost one or two percent, and who receives 10 Gbit/s waits for SHA-256 anyway.
pub const IN_TURN_WAIT_MAX: Duration = Duration::from_millis(2);
/// Bytes over which it is measured how fast those come that nobody reads.
pub const UNREAD_LAP_BYTES: usize = 1 << 20;
/// Longest time for that many with which a connection wakes us once a block: 100 MB/s. Below that, being
/// woken for less costs nothing that shows.
pub const UNREAD_LAP_MAX: Duration = Duration::from_millis(10);
/// Bytes read at once when a file is read back for its digest.
pub const DIGEST_READ_BYTES: usize = 1 << 20;
/// Chunks that wait for the caller of `Downloader::start`.
pub const CHUNKS_MAX: usize = 4;

/// Longest file name in bytes that we make up: room for a suffix below the usual 255.
pub const NAME_BYTES_MAX: usize = 200;
/// Longest path of a list in bytes: PATH_MAX of Linux.
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest component of a path of a list in bytes: NAME_MAX of Linux file systems.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// Most bytes of a line of a list, and of an element of one in XML: a path of the longest kind with each byte
/// encoded, and dozens of alternates.
pub const MANIFEST_LINE_BYTES_MAX: usize = 1 << 20;
/// The shortest stretch of a file that may have a digest of its own, in bytes: shorter ones cost more to look
/// after than to fetch again.
pub const STRETCH_BYTES_MIN: u64 = 4 << 10;
/// The longest one, in bytes: longer ones would be whole files.
pub const STRETCH_BYTES_MAX: u64 = 1 << 40;
/// Most bytes of the digests of stretches of one file: with a mebibyte a stretch and SHA-256 a file of 12
/// GiB. Their hex digits fit into a line of a list, with room for addresses, and dozens of them into the
/// memory of a sort.
pub const STRETCH_DIGESTS_BYTES_MAX: usize = 384 << 10;
/// Bytes of a list that are read at a time, and that its form is guessed from.
pub const MANIFEST_READ_BYTES: usize = 64 << 10;
/// Most bytes that a zstd frame of a list may refer back by. `zstd -19` stays at 8 MiB; what `--long` makes
/// may need more, and would take it from the memory of the run.
pub const MANIFEST_WINDOW_BYTES_MAX: usize = 64 << 20;
/// Most bytes of the page of a directory index: some 300,000 links.
pub const INDEX_BYTES_MAX: usize = 64 << 20;
/// The latest date that a file gets, since 1970: the last one that ext4 knows, in the year 2446.
pub const MODIFIED_MAX: Duration = Duration::from_secs(0x3_7fff_ffff);
/// Below this many bytes `--write auto` takes the page cache: up to here the open and the fsync cost most.
///
/// Measured on ext4 over virtio, kernel 6.18, 2 cores, whole durable runs from nginx on the same machine
/// over cubic, 15 interleaved rounds, medians, direct against buffered with io_uring: 1 MiB 11.6 and 9.0
/// ms, 4 MiB 13.6 and 13.1 ms, 16 MiB 24 and 26 ms, 64 MiB 51 and 68 ms, 256 MiB 158 and 232 ms; CPU
/// follows the wall (256 MiB: 116 and 158 ms). On epoll direct is level at 1 MiB and ahead from 4 MiB on.
pub const DIRECT_BYTES_MIN: u64 = 4 << 20;

/// Most bytes of a ledger: one that is longer is not believed, and not written on.
pub const LEDGER_BYTES_MAX: u64 = 64 << 20;
/// The last bytes of a ledger, in which only the beginning and the end of runs and syncs are noted.
pub const LEDGER_RESERVE_BYTES: u64 = 1 << 20;
/// Most bytes of a line of a ledger: the longest holds the validators, which a response head bounds, with
/// each byte escaped at worst.
pub const LEDGER_LINE_BYTES_MAX: usize = 512 << 10;
/// Most ranges of a line of the ledger that takes some back: two numbers of 20 digits each stay within its
/// length.
pub const LEDGER_RANGES_MAX: usize = 4096;
/// Landed bytes that a line of the ledger waits for: what a kill may cost beside what was in flight.
pub const LEDGER_WRITE_BYTES_MIN: u64 = 1 << 20;
/// Time after which what has landed gets a line all the same.
pub const LEDGER_WRITE_EVERY: Duration = Duration::from_secs(2);
/// Lines that a download without interruption may cost; for larger files each names more.
pub const LEDGER_WRITES: u64 = 64 << 10;
/// Landed bytes after which the ledger has the part file synced: what a power cut may cost.
pub const LEDGER_SYNC_BYTES: u64 = 512 << 20;
/// Time after which it has it synced all the same.
pub const LEDGER_SYNC_EVERY: Duration = Duration::from_secs(5);

/// Bytes of records that are sorted in memory, before they go to a file: what the list of a mirror may cost.
pub const SORT_BYTES_MAX: usize = 64 << 20;
/// Bytes that are read and written at once of a file of sorted records.
pub const SORT_BUFFER_BYTES: usize = 64 << 10;
/// Files of sorted records that are merged at a time: a descriptor and a buffer each.
pub const SORT_RUNS_MAX: usize = 64;
/// Most bytes of a frame of a mirror's state: a path, an address and validators, which a response head
/// bounds.
pub const FRAME_BYTES_MAX: u64 = 1 << 20;
/// Hosts of a mirror that have a queue of their own, and what they are allowed to themselves; hosts beyond
/// share those.
pub const QUEUES_MAX: usize = 256;
/// Hosts whose turns a mirror keeps, before it forgets those that nobody waits for: redirects may name any
/// number.
pub const TEMPO_HOSTS_MAX: usize = 1024;
/// Directories of a mirror that are kept open: a descriptor each, below the usual 1024 with room for sockets.
pub const DIRECTORIES_MAX: usize = 256;
/// Entries of one host that wait for another attempt, before it gets no new ones: what memory a host that
/// fails may cost.
pub const WAITING_MAX: usize = 4096;
/// Above this many bytes an entry is split over several connections: below, one has it before others are
/// there.
pub const ENTRY_LARGE_BYTES: u64 = 8 << 20;
/// Large entries at a time: each has threads and a pool of its own, and one alone fills a disk.
pub const LARGE_AT_ONCE: usize = 2;
/// Records that wait for the end of a sync before the journal takes them; where there are more, it takes them
/// all, and the next sync vouches for them.
pub const JOURNAL_HELD_MAX: usize = 64 << 10;
/// Bytes of entries after which a mirror is synced and the journal notes it: what a power cut may cost.
pub const CHECKPOINT_BYTES: u64 = 1 << 30;
/// Times that a mirror goes through the entries that wait for one of the same digest. A pass more is needed
/// where a file can have no more names (65,000 on ext4), and then makes a source of the next.
pub const LINK_PASSES_MAX: u32 = 64;
/// Files that a mirror removes without being told how many it may; more, if a tenth of the list is.
pub const DELETE_FILES_MIN: u64 = 1000;

/// Connections that `ringpull serve` answers at a time.
pub const SERVE_CONNECTIONS_MAX: usize = 1024;

const _: () = assert!(BLOCK_SIZE_MIN.is_power_of_two() && BLOCK_SIZE_MIN <= BLOCK_SIZE_DEFAULT);
const _: () = assert!(BLOCK_SIZE_DEFAULT <= BLOCK_SIZE_MAX);
const _: () = assert!(
    CONNECTIONS_AUTO_FIRST <= CONNECTIONS_AUTO_MAX && CONNECTIONS_AUTO_MAX <= CONNECTIONS_MAX
);
const _: () = assert!(HEAD_BYTES_MAX <= HEAD_CHAIN_BYTES_MAX);
const _: () = assert!(LEDGER_LINE_BYTES_MAX > 7 * HEAD_BYTES_MAX);
const _: () = assert!(LEDGER_LINE_BYTES_MAX > 2 * 48 * LEDGER_RANGES_MAX);
const _: () = assert!(RING_ENTRIES >= RING_ENTRIES_MIN);
