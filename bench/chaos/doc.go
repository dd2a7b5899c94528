// Package chaos tries to break decom as it runs in a hospital: real nats-server (one, or
// three as a cluster), real redis-server (one, or a master, a replica and three sentinels),
// two or three `decom run`, the simulator behind mutual TLS, and proxies with faults on every
// connection between them. A seed draws the plan of a run; the verdict holds outcomes,
// ledger, Redis, NMVS's own call ledger and a tap of the ledger's appends against each other.
//
// It is a test and no program because everything it stands on, the starters of real servers,
// belongs to tests, and because a test cleans up after itself however it ends. Everything is
// asked for: `make chaos`, `make soak`. Nothing runs in `make test` but the tests of the
// judge's own parts. What was found is in bench/results/faults.md.
package chaos
