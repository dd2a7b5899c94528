package bench

import (
	"errors"
	"time"
)

// Question is what `decom bench plan` is asked: how long a backlog lasts.
type Question struct {
	Backlog   int     // packs
	Quota     float64 // single calls a second; 0: single calls are not used
	BulkQuota float64 // submits a minute; 0: no bulks
	Batch     int     // packs in a bulk
	Arriving  float64 // packs a second that go on arriving meanwhile
	// Fill is the part of the quota that is really used, 0 to 1; default 0.9: results/modes.md saw 0.86 to 0.97.
	Fill float64
}

// Forecast is the answer; every figure follows from the model that it names.
type Forecast struct {
	SingleRate float64 // packs a second by single calls
	BulkRate   float64 // packs a second by bulks
	Rate       float64 // together
	Best       time.Duration
	Likely     time.Duration // with Fill of the quota
	Never      bool          // more arrives than leaves
}

// Forecast applies the model: a single call carries one pack, a bulk Batch packs; both
// quotas are used side by side (mode auto); what arrives meanwhile is taken off the rate; the
// first bulks are small (1, 2, 4 ...), which costs log2(Batch) bulks. Machine and latency do
// not count: they must be good for more than the quota (decom bench tune).
func (q Question) Forecast() (Forecast, error) {
	if q.Fill == 0 {
		q.Fill = 0.9
	}
	set(&q.Batch, 500)
	var errs []error
	for _, c := range []struct {
		ok  bool
		why string
	}{
		{q.Backlog >= 1, "the backlog must be 1 or more packs"},
		{q.Quota > 0 || q.BulkQuota > 0, "give a quota: calls a second, bulks a minute, or both"},
		{q.Quota >= 0 && q.BulkQuota >= 0 && q.Arriving >= 0, "quotas and arrivals must not be negative"},
		{q.Batch >= 1 && q.Batch <= 1000, "a bulk carries 1 to 1000 packs"},
		{q.Fill > 0 && q.Fill <= 1, "the fill is a part, above 0 and up to 1"},
	} {
		if !c.ok {
			errs = append(errs, errors.New(c.why))
		}
	}
	if len(errs) > 0 {
		return Forecast{}, errors.Join(errs...)
	}
	f := Forecast{SingleRate: q.Quota, BulkRate: q.BulkQuota / 60 * float64(q.Batch)}
	f.Rate = f.SingleRate + f.BulkRate
	if f.Rate*q.Fill <= q.Arriving {
		f.Never = true
		return f, nil
	}
	f.Best = lasts(q.Backlog, f.Rate-q.Arriving)
	f.Likely = lasts(q.Backlog, f.Rate*q.Fill-q.Arriving) + q.rampUp()
	if f.Rate <= q.Arriving { // with all of the quota it would just not grow
		f.Best = f.Likely
	}
	return f, nil
}

func lasts(packs int, rate float64) time.Duration {
	return time.Duration(float64(packs) / rate * float64(time.Second)).Round(time.Second)
}

// rampUp is the time of the bulks that are smaller than Batch at the start, less what
// they carry.
func (q Question) rampUp() time.Duration {
	if q.BulkQuota == 0 {
		return 0
	}
	missing := 0.0
	for size := 1; size < q.Batch && size < q.Backlog; size *= 2 {
		missing += 1 - float64(size)/float64(q.Batch)
	}
	return time.Duration(missing * 60 / q.BulkQuota * float64(time.Second)).Round(time.Second)
}
