// Package bare has two pipelines to hold decom against, on the same servers and the same
// simulator: Lean, the least that such a pipeline can do (the ceiling: no checks), and
// Plain, what a user would write with nats.go, go-redis, net/http and encoding/xml in an
// afternoon. Neither is safe: that is the point. They share no code with decom, and run
// in a process of their own (bench.Serve).
//
// # Concurrency and errors
//
// Lean and Plain return when all scans are done, ctx ends, or something fails; they
// wait for every goroutine they start. Lean gives up at the first error, Plain does what
// a plain worker does: it tries again.
package bare
