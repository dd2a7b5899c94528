package packstatetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Peek is [packstate.Store.Peek].
func (m *Memory) Peek(ctx context.Context, acc string, ks []scan.PackID) (out ledger.States, err error) {
	err = m.do(ctx, CallPeek, acc, func(p *projection) error {
		if err := check(len(ks), ks); err != nil {
			return err
		}
		out = p.some(ks)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Head is [packstate.Store.Head].
func (m *Memory) Head(ctx context.Context, acc string) (h ledger.Head, ok bool, err error) {
	err = m.do(ctx, CallHead, acc, func(p *projection) error { h, ok = p.head, p.begun; return nil })
	if err != nil {
		return ledger.Head{}, false, err
	}
	return h, ok, nil
}

// Begin is [packstate.Store.Begin].
func (m *Memory) Begin(ctx context.Context, acc string) (st packstate.Status, err error) {
	err = m.do(ctx, CallBegin, acc, func(p *projection) error {
		switch {
		case !p.begun:
			p.clear()
			p.begun, st = true, packstate.OK
		case p.head.Seq == 0:
			st = packstate.Same
		default:
			st = packstate.Ahead
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return st, nil
}

// Drop is [packstate.Store.Drop].
func (m *Memory) Drop(ctx context.Context, acc string) error {
	return m.do(ctx, CallDrop, acc, func(p *projection) error { p.clear(); return nil })
}

// Each is [packstate.Store.Each].
func (m *Memory) Each(ctx context.Context, acc string, fn func(scan.PackID, ledger.State) error) error {
	var all ledger.States
	if err := m.do(ctx, CallLists, acc, func(p *projection) error { all = maps.Clone(p.packs); return nil }); err != nil {
		return err
	}
	for k, s := range all {
		if err := fn(k, s); err != nil {
			return fmt.Errorf("each pack of %s: %w", acc, err)
		}
	}
	return nil
}

// OpenSeqs is [packstate.Store.OpenSeqs].
func (m *Memory) OpenSeqs(ctx context.Context, acc string) (seqs map[uint64]int, err error) {
	err = m.do(ctx, CallLists, acc, func(p *projection) error { seqs = maps.Clone(p.open); return nil })
	if err != nil {
		return nil, err
	}
	return seqs, nil
}

// Due is [packstate.Store.Due].
func (m *Memory) Due(ctx context.Context, acc string, now int64, max int) (ks []scan.PackID, err error) {
	err = m.do(ctx, CallLists, acc, func(p *projection) error {
		for k, ms := range p.due {
			if ms <= now {
				ks = append(ks, k)
			}
		}
		slices.SortFunc(ks, func(a, b scan.PackID) int {
			return cmp.Or(cmp.Compare(p.due[a], p.due[b]), cmp.Compare(a, b))
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ks[:min(len(ks), maxZero(max))], nil
}

func maxZero(n int) int { return max(n, 0) }

// Parked is [packstate.Store.Parked].
func (m *Memory) Parked(ctx context.Context, acc string, after scan.PackID, max int) (ks []scan.PackID, err error) {
	err = m.do(ctx, CallLists, acc, func(p *projection) error {
		for _, k := range slices.Sorted(maps.Keys(p.parked)) {
			if k > after && len(ks) < max {
				ks = append(ks, k)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ks, nil
}

// Counts is [packstate.Store.Counts].
func (m *Memory) Counts(ctx context.Context, acc string) (c packstate.Counts, err error) {
	err = m.do(ctx, CallLists, acc, func(p *projection) error {
		c = packstate.Counts{Due: len(p.due), Parked: len(p.parked)}
		for _, n := range p.open {
			c.Open += n
		}
		return nil
	})
	if err != nil {
		return packstate.Counts{}, err
	}
	return c, nil
}

// Halt is [packstate.Store.Halt].
func (m *Memory) Halt(ctx context.Context, acc, why string) error {
	return m.do(ctx, CallHalt, acc, func(p *projection) error {
		why = cmp.Or(strings.Map(oneLine, why), "no reason given")
		switch {
		case p.process == "":
			p.process = why
		case !slices.Contains(strings.Split(p.process, "\n"), why):
			p.process += "\n" + why
		}
		return nil
	})
}

func oneLine(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

// Unhalt is [packstate.Store.Unhalt].
func (m *Memory) Unhalt(ctx context.Context, acc, why string) (left string, err error) {
	err = m.do(ctx, CallUnhalt, acc, func(p *projection) error {
		if p.process == why {
			p.process = ""
		}
		left = p.process
		return nil
	})
	if err != nil {
		return "", err
	}
	return left, nil
}

// Halted is [packstate.Store.Halted].
func (m *Memory) Halted(ctx context.Context, acc string) (why string, halted bool, err error) {
	err = m.do(ctx, CallHalted, acc, func(p *projection) error { why = cmp.Or(p.process, p.book); return nil })
	if err != nil {
		return "", false, err
	}
	return why, why != "", nil
}

// SaveControls is [packstate.Store.SaveControls].
func (m *Memory) SaveControls(ctx context.Context, acc string, c ledger.Controls) error {
	return m.do(ctx, CallControls, acc, func(p *projection) error {
		if c.Seq > p.controls.Seq {
			p.controls = c
		}
		return nil
	})
}

// Controls is [packstate.Store.Controls].
func (m *Memory) Controls(ctx context.Context, acc string) (c ledger.Controls, err error) {
	err = m.do(ctx, CallControls, acc, func(p *projection) error { c = p.controls; return nil })
	if err != nil {
		return ledger.Controls{}, err
	}
	return c, nil
}

// Own is [packstate.Store.Own].
func (m *Memory) Own(ctx context.Context, acc string, ks []scan.PackID) (holders map[scan.PackID]string, err error) {
	err = m.do(ctx, CallOwn, acc, func(*projection) error {
		if err := check(len(ks), ks); err != nil {
			return err
		}
		holders = map[scan.PackID]string{}
		for _, k := range ks {
			m.own[k] = cmp.Or(m.own[k], acc)
			holders[k] = m.own[k]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return holders, nil
}

// Take is [packstate.Store.Take].
func (m *Memory) Take(ctx context.Context, k scan.PackID, from, to string) (holder string, err error) {
	err = m.do(ctx, CallTake, to, func(*projection) error {
		if err := check(1, []scan.PackID{k}); err != nil {
			return err
		}
		if m.own[k] == from {
			m.own[k] = to
		}
		holder = m.own[k]
		return nil
	})
	if err != nil {
		return "", err
	}
	return holder, nil
}

// Heartbeat is [packstate.Store.Heartbeat], by the clock of this process (in a
// synctest bubble: the bubble's).
func (m *Memory) Heartbeat(ctx context.Context, worker string, ttl time.Duration) (alive []string, err error) {
	if worker == "" || ttl < 0 {
		return nil, fmt.Errorf("heartbeat of %q for %v", worker, ttl)
	}
	err = m.do(ctx, CallHeartbeat, "fleet", func(*projection) error {
		m.fleet[worker] = time.Now().Add(ttl)
		maps.DeleteFunc(m.fleet, func(_ string, until time.Time) bool { return !until.After(time.Now()) })
		alive = slices.Sorted(maps.Keys(m.fleet))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return alive, nil
}

// SaveHead is [packstate.Store.SaveHead] of an embedded store, without the disk.
func (m *Memory) SaveHead(acc string, h ledger.Head) error {
	return m.do(context.Background(), CallSaveHead, acc, func(*projection) error {
		if err := check(0, nil, h); err != nil {
			return err
		}
		old, known := m.saved[acc]
		if known && old.Seq == h.Seq && old.Hash != h.Hash {
			return errors.New("the ledger has forked")
		}
		if !known || old.Seq < h.Seq {
			m.saved[acc] = h
		}
		return nil
	})
}

// LoadHead is [packstate.Store.LoadHead].
func (m *Memory) LoadHead(acc string) (ledger.Head, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.saved[acc]
	return h, ok, nil
}

// ForgetHead is [packstate.Store.ForgetHead].
func (m *Memory) ForgetHead(acc string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.saved, acc)
	return nil
}

// Embedded says true: Memory is lost with the process.
func (m *Memory) Embedded() bool { return true }

// Warnings has none.
func (m *Memory) Warnings() []string { return nil }

// Ping is [packstate.Store.Ping].
func (m *Memory) Ping(ctx context.Context) error {
	return m.do(ctx, CallPing, "ping", func(*projection) error { return nil })
}

// Info is [packstate.Store.Info].
func (m *Memory) Info(context.Context) (packstate.Info, error) {
	return packstate.Info{Embedded: true, Servers: []packstate.Server{{Addr: "memory", Version: "memory"}}}, nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }
