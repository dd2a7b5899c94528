// Package worker decommissions packs: it takes scan events, decides them, sends what
// is due to NMVS, and records everything on a ledger before and after. It is the only
// package that knows all the others.
//
// # The line
//
// One scan is one straight line (protocol.md section 3), a function a step:
//
//	device -> DECOM_SCANS
//	  -> fetch      S0  only what has a slot and a token              fetch.go, lanes.go, spare.go
//	  -> readItem   S1  decode, parse; nothing is trimmed             loop.go, decode.go
//	  -> view       S2  the packs as of the last record known         round.go
//	  -> draft      S3  decide each scan, one entry per pack          draft*.go, decide.go, bulk.go
//	  -> commit     S4  append by compare-and-set                     round.go
//	  -> apply      S5  into Redis; only OK and SAME permit sending   round.go
//	  -> dispose    S6  ack what is recorded, send back what waits    round.go
//	  -> send       S7  guard, write once, wait                       send.go
//	  -> claimOf    S8  the answer becomes a fact, or nothing         classify.go
//	  -> poll       S9  results of bulks                              poll.go
//	  -> commit, apply, and the [Publisher] tells the outcome         publisher.go
//
// Steps pass values in arguments and results. All decisions ([decide], [conclude],
// [claimOf], the ledger's Fold) are pure.
//
// The rules of protocol.md section 4 stand in one place each: 1 to 8 and 10 in decide.go, 9 (the other
// accounts) in owners.go; draft_scan.go puts what they say of a scan into the record, draft_due.go holds a
// due pack to 7 to 9 again, draft_claim.go adds the facts about attempts, withhold.go what stops a batch or device.
//
// # States
//
// A pack is FREE, OPEN (an attempt may be on its way), DUE (accepted, to be sent again),
// INACTIVE (by us) or PARKED (a person must look); see package ledger. An open attempt
// leaves that state by an answer, by `off` (it was not sent, or refused as a whole), or
// by the resolver: fence, hold, verify, and only a pack seen ACTIVE is sent again
// (resolve.go, protocol.md section 5). qualified.go holds what rests on properties of
// NMVS that an operator has to qualify first.
//
// # Concurrency
//
// An [Account] owns every goroutine of one NMVS login. One goroutine, the loop, owns all
// state and does all writing to the ledger; fetchLoop takes scans; a goroutine for each
// call in flight, at most Config.Parallel, only speaks to NMVS and hands back an ending; a
// synchronisation of many records has one more, which projects some while the loop reads the
// next (projector.go).
// Any number of processes may run the same account: the ledger's compare-and-set
// keeps them apart, ranks only keep them from racing. The Publisher is apart from the
// loop and follows the ledger.
//
// # Stopping and failing
//
// When Run's context ends, nothing more is taken in, what is unsent stays unsent, and what
// was sent gets its answer recorded within a deadline. A crash at any point is a drain
// that recorded less: the next loop, anywhere, finds out from the ledger (protocol.md
// section 8). NATS or Redis away: the loop waits, says so through Hooks.Trouble, and
// loses nothing. A contradiction between ledger and Redis, or alerts that may be our own
// fault, latch the account (halt.go): no byte leaves until a person resumes it.
//
// Errors of Run are faults of this program or of its records; whoever runs it logs them
// and begins anew. What a scan or NMVS did wrong is never an error but an outcome, with a
// Result and a Reason of package scan.
//
// # Why
//
// 2026-11-24: a verify answer is dropped only when something was said of its attempt since.
// protocol.md drops it after any lost append. On a busy account somebody always appends in between,
// and no doubt would ever be settled. The attempt's own facts are what the answer depends on; the
// protocol's model was run with this rule, and nothing it must hold was violated.
//
// 2026-11-24: held scans come back after 1 s, doubling to 5 min. protocol.md says 30 s. A pack is
// usually busy for one call, and a pharmacist who scans twice should not wait half a minute; the
// doubling keeps a long doubt cheap.
//
// 2026-11-24: a verify that finds a pack inactive only as expired, recalled or withdrawn gives
// refused. Nobody's change call made it so, and NMVS answers a change call for such a pack with a
// refusal: an alert would accuse somebody.
//
// 2026-11-24: a second undo that NMVS refuses parks the pack. The first one, whose answer was lost,
// may have been carried out, and somebody else may have decommissioned the pack since; the table of
// protocol.md section 5 would leave it as ours.
//
// 2026-11-24: a pause rests on the ledger's compare-and-set, not on messages. It is a fact on the
// account's ledger: whoever appends behind it without having read it loses, so nothing is opened after
// it in any process. A message only hurries the look. Redis keeps what people set beside the head,
// stored before the head moves over it, because a start reads from there.
//
// 2026-11-25: a missing upload and a faulty scanner are withheld as a pause is: by a fact. The tally
// that finds them counts answers as records are folded, in every process; whoever appends first writes
// the fact, the others lose and read it, so one finding is one fact, and either fact (withhold, free)
// ends it for all. Withheld scans wait in the stream, counted apart from those that wait for their
// pack: past half of what may wait new ones are refused, so a hold can never stop the account.
//
// 2026-11-24: no token is kept in hand. Tokens that wait for a scan leave beside what the bucket
// gathered meanwhile, a burst that NMVS counts. A person's scan takes the next token before anything
// else instead.
package worker
