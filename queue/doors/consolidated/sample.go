package consolidated

import (
	"context"
	"slices"

	"decom/worker/scan"
)

// Sample records packs that a person scanned. With of, the packs are all that is in that
// container: what it lists and was not scanned is missing. It returns what it found and
// publishes what that lets go.
func (d *Desk) Sample(ctx context.Context, f *File, packs []scan.Pack, of, who string) (*Settled, *Sample, error) {
	s, err := d.Settle(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	box := int32(-1)
	if of != "" {
		if box = s.boxOf(of); box < 0 {
			return nil, nil, problem("le fichier %s ne connaît pas le contenant %s", "file %s knows no container %s", f.ID, of)
		}
	}
	var m *Sample
	err = d.decide(ctx, &f, func(f *File) (*note, error) {
		if f.Dropped() {
			return nil, problem("le fichier %s a été écarté ; rien n'en est publié", "file %s was dropped; nothing of it is published", f.ID)
		}
		s = d.settled(f, s)
		m = s.compare(packs, of, box)
		return d.noteIf(true, f, note{Kind: noteSampled, Who: who, Sample: m}), nil
	})
	if err != nil {
		return nil, nil, err
	}
	s, err = d.Publish(ctx, f)
	return s, m, err
}

// compare holds scanned packs against the list.
func (s *Settled) compare(packs []scan.Pack, of string, box int32) *Sample {
	m := &Sample{Of: of}
	index := make(map[packKey]int32, len(s.List.Rows))
	for i := range s.List.Rows {
		index[s.List.Rows[i].key()] = int32(i)
	}
	there := map[int32]bool{}
	for _, p := range packs {
		i, listed := index[packKey{p.Code(), p.Serial()}]
		if listed && there[i] {
			continue // scanned twice
		}
		extra := func(reason string) {
			x := Extra{Code: p.Code(), Serial: p.Serial(), Batch: p.Batch(), Expiry: p.Expiry(), Reason: reason}
			if !slices.Contains(m.Extra, x) {
				m.Extra = append(m.Extra, x)
			}
		}
		if !listed {
			extra("not_listed")
			continue
		}
		r := &s.List.Rows[i]
		there[i] = true
		switch {
		case box >= 0 && !s.inside(r, box):
			extra("elsewhere")
			continue
		case r.Batch != p.Batch():
			m.Wrong = append(m.Wrong, r.N)
			continue
		case !s.sameDate(r, p.Expiry(), m):
			m.Wrong = append(m.Wrong, r.N)
			continue
		}
		m.OK = append(m.OK, r.N)
	}
	if box < 0 {
		return m
	}
	for i := range s.List.Rows {
		if r := &s.List.Rows[i]; s.inside(r, box) && !there[int32(i)] && s.let[i] == 0 {
			m.Missing = append(m.Missing, r.N)
		}
	}
	return m
}

func (s *Settled) inside(r *Row, box int32) bool {
	for p := r.Parent; p >= 0; p = s.List.Containers[p].Parent {
		if p == box {
			return true
		}
	}
	return false
}

// sameDate compares expiries. A full date of the file is what the pack prints, or its
// month: the first pack of product and batch settles it, one that says otherwise is wrong.
func (s *Settled) sameDate(r *Row, printed string, m *Sample) bool {
	if !r.Full {
		return r.Expiry == printed
	}
	if !matches(r.Expiry, printed) {
		return false
	}
	d := Date{Code: r.Code, Batch: r.Batch, Full: r.Expiry}
	known := s.dates[d]
	if i := slices.IndexFunc(m.Dates, func(o Date) bool { return o.Code == d.Code && o.Batch == d.Batch && o.Full == d.Full }); i >= 0 && known == "" {
		known = m.Dates[i].Printed
	}
	if known == "" {
		d.Printed = printed
		m.Dates = append(m.Dates, d)
		return true
	}
	return known == printed
}

// discard is a hash of nothing, where nobody asks for it.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Sum(b []byte) []byte         { return b }
func (discard) Reset()                      {}
func (discard) Size() int                   { return 0 }
func (discard) BlockSize() int              { return 1 }
