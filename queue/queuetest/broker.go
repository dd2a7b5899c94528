package queuetest

import (
	"sync"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Broker is JetStream in memory, as far as package queue shows it: the streams, the
// consumers of the accounts, and the ways in which they fail. Each process of a test
// takes a [Conn] of its own.
type Broker struct {
	// AckWait as in queue.Config; 60 s. Set it before use.
	AckWait time.Duration
	// Takes is how long each append and each publish of outcomes is on its way: long
	// enough, inside a synctest bubble, for others to get in between. Set it before use.
	Takes time.Duration
	// Lenient has broken rules answered with the error that package queue returns, and
	// not fail the test as well. Set it before use.
	Lenient bool
	// OutboxKeepsPlace has outboxes remember what a ledger that loses its tail has lost, as
	// nats-server's consumers do where the stream has three replicas. Set it before use.
	OutboxKeepsPlace bool
	// OnAck is called for each scan acked, before the ack has effect, not under a lock:
	// the place to check that its record is on the ledger. May be nil. Set it before use.
	OnAck func(account string, m scan.Meta)

	t testing.TB

	mu       sync.Mutex
	faults   faults              // guarded by mu
	scans    []message           // guarded by mu
	records  []message           // guarded by mu
	outcomes []message           // guarded by mu
	losses   int                 // guarded by mu
	base     map[string]uint64   // sequence of the last message ever, by stream; guarded by mu
	seen     map[string]message  // by stream and id; guarded by mu
	accounts map[string]*account // guarded by mu
	changed  chan struct{}       // closed and made anew when anything changes; guarded by mu
}

// message is one message of any stream.
type message struct {
	subject string // the part behind the prefix of the stream
	id      string
	ledger  string // outcomes: Decom-Ledger
	seq     uint64
	at      time.Time
	body    []byte
	trace   string // traceparent
}

// account is the consumers of one account, all owned by the broker's mu.
type account struct {
	name    string
	sites   map[string]bool
	next    uint64             // first scan not delivered yet
	out     map[uint64]*outing // scans delivered and not acked
	acked   map[uint64]bool
	count   map[uint64]int
	waiting map[*waiter]bool

	outNext uint64    // first record the outbox has not got
	outSeq  uint64    // the record that is out, 0 = none
	outDue  time.Time // when it comes again
	outN    int       // its deliveries
	outTurn uint64    // deliveries of all records
	late    []lateAppend
}

// outing is a scan that is out.
type outing struct {
	due time.Time // when it may be delivered again
}

// waiter is a fetch that waits.
type waiter struct{ priority int }

// NewBroker returns a broker on which these accounts are set up.
func NewBroker(t testing.TB, accounts ...queue.Account) *Broker {
	b := &Broker{
		AckWait: 60 * time.Second, t: t, base: map[string]uint64{}, seen: map[string]message{},
		accounts: map[string]*account{}, changed: make(chan struct{}),
	}
	for _, a := range accounts {
		b.account(a)
	}
	return b
}

// account makes or updates an account. The caller holds mu, or nobody else knows b.
func (b *Broker) account(a queue.Account) {
	acc := b.accounts[a.Name]
	if acc == nil {
		acc = &account{
			name: a.Name, next: 1, outNext: 1, out: map[uint64]*outing{}, acked: map[uint64]bool{},
			count: map[uint64]int{}, waiting: map[*waiter]bool{},
		}
		b.accounts[a.Name] = acc
	}
	acc.sites = map[string]bool{}
	for _, s := range a.Sites {
		acc.sites[s] = true
	}
}

// change wakes everybody who waits. The caller holds mu.
func (b *Broker) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// broken fails the test for a rule that its code has broken.
func (b *Broker) broken(format string, args ...any) {
	if !b.Lenient {
		b.t.Errorf("queuetest: "+format, args...)
	}
}

// window says whether id was stored in stream less than d ago, and as what. The caller holds mu.
func (b *Broker) window(stream, id string, d time.Duration) (message, bool) {
	m, ok := b.seen[stream+" "+id]
	return m, ok && id != "" && time.Since(m.at) < d
}

// store appends m to a stream. The caller holds mu.
func (b *Broker) store(stream string, log *[]message, m message) message {
	b.base[stream]++
	m.seq, m.at = b.base[stream], time.Now()
	m.body = append([]byte(nil), m.body...)
	*log = append(*log, m)
	b.seen[stream+" "+m.id] = m
	b.change()
	return m
}

// LoseTail has the ledger lose its last n records, whosever they are, as a server does
// whose disk lied about a sync. New records get the same sequences again.
func (b *Broker) LoseTail(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.losses++
	n = min(n, len(b.records))
	for _, m := range b.records[len(b.records)-n:] {
		delete(b.seen, queue.StreamLedger+" "+m.id)
	}
	b.records = b.records[:len(b.records)-n]
	b.base[queue.StreamLedger] -= uint64(n)
	for _, a := range b.accounts {
		if !b.OutboxKeepsPlace {
			a.outNext = min(a.outNext, b.base[queue.StreamLedger]+1)
		}
		if a.outSeq > b.base[queue.StreamLedger] {
			a.outSeq = 0
		}
	}
	b.change()
}

// Redeliver has a scan delivered again, whether it is out, held or acked
// (nats-server#5419: acked messages come back).
func (b *Broker) Redeliver(name string, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	if seq >= a.next {
		return // it comes anyway
	}
	delete(a.acked, seq)
	a.out[seq] = &outing{due: time.Now()}
	b.change()
}

// RedeliverAll has every scan of an account delivered again (nats-server#8036).
func (b *Broker) RedeliverAll(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	a.next, a.out, a.acked = 1, map[uint64]*outing{}, map[uint64]bool{}
	b.change()
}

// Acked says whether the account has acked the scan.
func (b *Broker) Acked(name string, seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accounts[name].acked[seq]
}

// Left counts the account's scans that are not acked.
func (b *Broker) Left(name string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	for _, m := range b.scans {
		if a.sites[siteOf(m.subject)] && !a.acked[m.seq] {
			n++
		}
	}
	return n
}

// Records returns an account's ledger.
func (b *Broker) Records(name string) []queue.Entry { return b.RecordsFrom(name, 0) }

// RecordsFrom returns an account's ledger without its first n records.
func (b *Broker) RecordsFrom(name string, n int) (es []queue.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.records {
		if m.subject != name {
			continue
		}
		if n--; n < 0 {
			es = append(es, m.entry())
		}
	}
	return es
}

// Losses counts the calls of LoseTail.
func (b *Broker) Losses() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.losses
}

// Stored returns every outcome in the order of arrival.
func (b *Broker) Stored() (os []queue.StoredOutcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.outcomes {
		os = append(os, m.outcome())
	}
	return os
}
