package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Rebuild is what a worker does with a ledger of so many packs: the projection made anew from its first record, a start
// with the projection in place, and new scans after both.
type Rebuild struct {
	Packs   int     `json:"packs"`
	Records int     `json:"records"`
	Fill    Seconds `json:"fill_seconds"` // writing the ledger, by the bench
	// Anew is from the start of the worker with an empty Redis until Redis holds the last record; Rate packs a second of it.
	Anew Seconds            `json:"anew_seconds"`
	Rate float64            `json:"packs_per_second"`
	CPU  map[string]float64 `json:"cpu_seconds"` // of Anew, by process
	Peak map[string]int64   `json:"peak_memory_bytes"`
	// Again is from the start of a worker that finds the projection until it is ready.
	Again Seconds `json:"again_seconds"`
	// RedisBytes are those of Redis a pack.
	RedisBytes float64 `json:"redis_bytes_per_pack"`
	// Steady is CPU seconds for 100,000 packs of new scans afterwards, all processes; SteadyWorker the worker's.
	Steady       float64 `json:"steady_cpu_seconds_per_100k"`
	SteadyWorker float64 `json:"steady_worker_cpu_seconds_per_100k"`
}

// steadyPacks are the new scans after a rebuild.
const steadyPacks = 10_000

// rebuildPatience bounds the wait for a worker: 1,000 packs a second would be far too slow.
func rebuildPatience(packs int) time.Duration {
	return time.Minute + time.Duration(packs)*time.Millisecond
}

// MeasureRebuild writes a ledger of packs that mixed bulks settled, c.Batch each, with c.Bulks on their way at once, and
// measures what a worker makes of it. It needs redis-server.
func MeasureRebuild(ctx context.Context, c Config, packs int) (Rebuild, error) {
	c.Profile, c.Accounts, c.Packs, c.Processes = Backlog, 1, steadyPacks, 1
	c = c.WithDefaults()
	m := Rebuild{Packs: packs}
	if err := c.Validate(); err != nil {
		return m, err
	}
	if c.RedisServer == "" {
		return m, errors.New("a rebuild needs redis-server; there is none on this machine")
	}
	r, err := newRig(ctx, &c, filepath.Join(c.Dir, fmt.Sprintf("rebuild-%d", packs)))
	defer r.close()
	if err != nil {
		return m, err
	}
	began := time.Now()
	head, err := r.fill(ctx, packs, &m)
	if err != nil {
		return m, fmt.Errorf("fill the ledger: %w", err)
	}
	m.Fill = secondsOf(time.Since(began))
	store, err := packstate.Open(ctx, packstate.Config{URL: r.redisURL})
	if err != nil {
		return m, err
	}
	defer store.Close()
	used := func() (int64, error) {
		info, err := store.Info(ctx)
		if err != nil {
			return 0, err
		}
		return info.Servers[0].UsedMemory, nil
	}
	empty, err := used()
	if err != nil {
		return m, err
	}
	if err := r.anew(ctx, store, head, &m); err != nil {
		return m, err
	}
	full, err := used()
	m.RedisBytes = float64(full-empty) / float64(packs)
	return m, errors.Join(err, r.again(ctx, &m))
}

// anew lets a worker find an empty Redis.
func (r *rig) anew(ctx context.Context, store *packstate.Store, head ledger.Head, m *Rebuild) error {
	before, began := cpuOf(r.pids), time.Now()
	if err := r.startWorkers(); err != nil {
		return err
	}
	for end := began.Add(rebuildPatience(m.Packs)); ; {
		at, _, err := store.Head(ctx, r.names[0])
		if err := errors.Join(err, r.died(), pause(ctx, 5*time.Millisecond)); err != nil {
			return err
		}
		if at == head {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the worker is at record %d of %d after %v", at.Seq, head.Seq, rebuildPatience(m.Packs))
		}
	}
	took := time.Since(began)
	m.Anew, m.Rate, m.CPU, m.Peak = secondsOf(took), float64(m.Packs)/took.Seconds(), map[string]float64{}, peakOf(r.pids)
	for name, cpu := range cpuOf(r.pids) {
		m.CPU[name] = (cpu - before[name]).Seconds()
	}
	return nil
}

// again starts the worker once more and gives it new scans.
func (r *rig) again(ctx context.Context, m *Rebuild) error {
	for _, w := range r.workers {
		w.stop(15 * time.Second)
	}
	r.workers, r.https, r.pids["worker"] = nil, nil, nil
	began := time.Now()
	if err := r.startWorkers(); err != nil {
		return err
	}
	next := &measure{rig: r, cfg: r.cfg}
	if err := next.awaitReady(ctx); err != nil {
		return err
	}
	m.Again = secondsOf(time.Since(began))
	next.load = newLoad(r.cfg, r.sites)
	work, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- next.load.follow(work, r.conn, time.Now().Add(-time.Second)) }() // ends with work
	before := cpuOf(r.pids)
	if err := errors.Join(next.load.publish(ctx, r.conn, time.Now()), next.wait(ctx)); err != nil {
		return err
	}
	for name, cpu := range cpuOf(r.pids) {
		per := (cpu - before[name]).Seconds() * 100_000 / steadyPacks
		m.Steady += per
		if name == "worker" {
			m.SteadyWorker = per
		}
	}
	if have := next.load.have; have != steadyPacks {
		return fmt.Errorf("%d of %d new scans have an outcome", have, steadyPacks)
	}
	stop()
	return <-ended
}

// fill writes the records that a worker writes for mixed bulks: openings, submitted, results.
func (r *rig) fill(ctx context.Context, packs int, m *Rebuild) (head ledger.Head, err error) {
	book := r.conn.Ledger(r.names[0])
	add := func(rec *ledger.Record) error {
		rec.Account, rec.By, rec.At = r.names[0], "bench#fill", scan.Time(time.Now())
		payload, err := ledger.Encode(rec, head)
		if err != nil {
			return err
		}
		m.Records++
		head, err = book.Append(ctx, head, payload)
		return err
	}
	var flying []*flight
	land := func() error {
		f := flying[0]
		flying = flying[1:]
		return errors.Join(add(f.submitted()), add(f.results()))
	}
	for from := 0; from < packs; from += r.cfg.Batch {
		if len(flying) == r.cfg.Bulks {
			if err := land(); err != nil {
				return head, err
			}
		}
		f := newFlight(from, min(r.cfg.Batch, packs-from))
		if err := add(&ledger.Record{Open: []ledger.Open{f.open}}); err != nil {
			return head, err
		}
		f.of = head.Seq
		flying = append(flying, f)
	}
	for len(flying) > 0 {
		if err := land(); err != nil {
			return head, err
		}
	}
	return head, r.tell(ctx, m.Records)
}

// tell takes the records from the outbox, so that no worker publishes outcomes of a ledger that was only written for it.
func (r *rig) tell(ctx context.Context, records int) error {
	box := r.conn.Outbox(r.names[0])
	for range records {
		rec, err := box.Next(ctx)
		if err != nil {
			return err
		}
		if err := rec.Ack(ctx); err != nil {
			return err
		}
	}
	last, cancel := context.WithTimeout(ctx, 200*time.Millisecond) // the order for one more, which no record answers
	defer cancel()
	_, err := box.Next(last)
	if err == nil {
		return errors.New("the outbox holds more records than were written")
	}
	return ctx.Err()
}

// flight is one mixed bulk on its way.
type flight struct {
	open ledger.Open
	of   uint64
}

func newFlight(from, n int) *flight {
	f := &flight{open: ledger.Open{C: nmvs.NewTrxID(), Svc: ledger.Mixed, SHA: ledger.Hash(nil)}}
	now := time.Now().UnixMilli()
	for i := from; i < from+n; i++ {
		f.open.Packs = append(f.open.Packs, ledger.OpenPack{Serial: fmt.Sprintf("F%09d", i), C: nmvs.NewTrxID(),
			Product: &ledger.Product{Scheme: scan.GTIN, Code: gtin(i % 20), Batch: "LOT01", Expiry: "291100"},
			Origin:  ledger.Origin{Ev: fmt.Sprintf("fill-%09d", i), Src: "site-1/bench", Key: now, Op: scan.Supply}})
	}
	return f
}

func (f *flight) submitted() *ledger.Record {
	return &ledger.Record{Fact: []ledger.Fact{{C: f.open.C, Of: f.of, Kind: ledger.Submitted, Tx: f.open.C}}}
}

func (f *flight) results() *ledger.Record {
	fact := ledger.Fact{C: f.open.C, Of: f.of, Kind: ledger.Result}
	at := scan.Time(time.Now())
	for i := range f.open.Packs {
		p, _ := f.open.Pack(i) // Encode has made every one
		fact.Packs = append(fact.Packs, ledger.FactPack{I: i, K: p.ID(), Answer: &ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS",
			State: "INACTIVE", Reasons: []string{"SUPPLIED"}, NMVSTrx: f.open.C, NMVSAt: at, Called: true}})
	}
	return &ledger.Record{Fact: []ledger.Fact{fact}}
}
