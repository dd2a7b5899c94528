package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/scan"
)

// sent is one scan as a robot published it.
type sent struct {
	id      string
	account string
	pack    scan.Pack
	op      scan.Op
	at      time.Time
	device  string
	strange bool // the pack is not in order: see strangers
}

// load is the made-up robots of a run: packs once; some of them by the same message again,
// some by another device, some undone later.
type load struct {
	r   *rig
	rng *rand.Rand

	mu   sync.Mutex // guards the rest
	sent []sent
	made []queue.Scan // the same

	strange map[sim.Key]bool // set before the first scan
}

const gtin = "03400930000007"

// pour publishes the scans of every account over the plan's time, whatever happens to the
// servers, and returns when the stream has acknowledged all of them.
func (l *load) pour(ctx context.Context) error {
	p := l.r.plan
	batches := max(p.Batches, 12)
	var again, undo []queue.Scan
	for b := range batches {
		began := time.Now()
		var scans []queue.Scan
		for i := range p.Accounts {
			for n := b * p.Packs / batches; n < (b+1)*p.Packs/batches; n++ {
				pack, err := packOf(p, i, n)
				if err != nil {
					return err
				}
				s := l.event(i, "rowa-"+fmt.Sprint(n%3), scan.Supply, pack)
				scans = append(scans, s)
				switch l.rng.IntN(12) {
				case 0: // the robot saw no acknowledgement
					again = append(again, s)
				case 1: // another device has the pack too
					scans = append(scans, l.event(i, "counter", scan.Supply, pack))
				case 2: // taken back
					undo = append(undo, l.event(i, "rowa-"+fmt.Sprint(n%3), scan.UndoSupply, pack))
				}
			}
		}
		if b%3 == 2 {
			scans = append(append(scans, again...), undo...)
			again, undo = nil, nil
		}
		if err := l.publish(ctx, scans); err != nil {
			return err
		}
		select {
		case <-time.After(p.Pour/time.Duration(batches) - time.Since(began)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l.publish(ctx, append(again, undo...))
}

func (l *load) event(account int, device string, op scan.Op, pack scan.Pack) queue.Scan {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.r.plan.accounts()[account]
	id, at := fmt.Sprintf("%s-e%05d", a.Name, len(l.sent)), time.Now().UTC()
	if op.IsUndo() {
		at = at.Add(500 * time.Millisecond) // never the instant of its supply
	}
	body, err := json.Marshal(map[string]any{
		"v": 1, "id": id, "op": op, "at": at.Format(time.RFC3339Nano),
		"pack": map[string]string{"scheme": string(pack.Scheme()), "code": pack.Code(), "serial": pack.Serial(), "batch": pack.Batch(), "expiry": pack.Expiry()},
	})
	if err != nil {
		l.r.fault("make a scan: %v", err)
	}
	l.sent = append(l.sent, sent{id: id, account: a.Name, pack: pack, op: op, at: at, device: device, strange: l.strange[keyOf(pack)]})
	s := queue.Scan{Site: a.Sites[0], Device: device, ID: id, Body: body}
	l.made = append(l.made, s)
	return s
}

// publish repeats until every scan is acknowledged, as a robot does.
func (l *load) publish(ctx context.Context, scans []queue.Scan) error {
	if len(scans) == 0 {
		return nil
	}
	for {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := l.r.conn.PublishScans(one, scans)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// published are the scans made so far, as they were published.
func (l *load) published() []queue.Scan {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.made)
}

func (l *load) all() []sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

func keyOf(p scan.Pack) sim.Key {
	return sim.Key{Scheme: string(p.Scheme()), Code: p.Code(), Serial: p.Serial()}
}
