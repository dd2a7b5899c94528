// Package bench measures decom as a whole: real servers, real `decom run`, the
// simulator over mutual TLS, each a process of its own. README.md beside it is the
// method. `decom bench` is its command line; the benchmarks of its tests run only when
// asked for (make bench).
//
// [Run] measures a [Plan] and returns a [Result], which is result.json, the text for
// benchstat and the report. A round has fresh servers in a folder of its own; load
// leaves when it is meant to (open loop), and a latency counts from there. [Compare] holds
// two results against each other, [Question] and [Remote] answer how long and which
// settings, [Serve] is the part that a child process plays.
//
// # Concurrency and errors
//
// One measurement at a time: parallel ones would measure each other. Every goroutine and
// process that a round starts has ended when the round has; children of decom's own also
// end when their standard input closes, so that none survives the harness. An error says
// what could not be measured; what was measured and is bad is in the [Verdict].
package bench
