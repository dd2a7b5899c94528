// Package queuetest has what tests and benchmarks of decom need instead of a
// production NATS: an in-memory [Broker] with faults, whose parts have the same
// methods as those of package queue; a real nats-server in a process of its own
// ([Server], [StartServer]); and [Suite], which both pass.
//
// The broker polices its callers: an append while another of the same connection is
// in flight, or a delivery settled twice, fails the test.
//
// Everything in it may be used from any goroutine and inside a synctest bubble; the
// broker starts no goroutine and reads time only by the time package.
package queuetest
