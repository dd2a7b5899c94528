//go:build crash

package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync/atomic"

	"decom/nmvs"
	"decom/worker"
)

// faultyNMVS is the worst build that could be installed: DECOM_FAULTY_EVERY=n makes it take
// each n-th change that NMVS carried out for one that never left, so that the line sends
// the pack again. Every such call raises an alert at NMVS. It exists in test builds only (-tags
// crash) and shows that the alert breaker stops such a build (protocol.md section 9).
var faultyNMVS = func() func(worker.NMVS) worker.NMVS {
	n, err := strconv.ParseInt(os.Getenv("DECOM_FAULTY_EVERY"), 10, 64)
	if err != nil || n < 1 {
		return nil
	}
	return func(good worker.NMVS) worker.NMVS { return &faulty{NMVS: good, every: n} }
}()

type faulty struct {
	worker.NMVS
	every int64
	done  atomic.Int64
}

// Do lies about each n-th change.
func (f *faulty) Do(ctx context.Context, call nmvs.Call) (nmvs.Answer, error) {
	a, err := f.NMVS.Do(ctx, call)
	if call.Act != nmvs.ActPacks || call.Op.IsRead() || err != nil || a.Class != nmvs.Success || f.done.Add(1)%f.every != 0 {
		return a, err
	}
	return nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: nmvs.NotSent}},
		&nmvs.Error{C: call.C, Class: nmvs.NotSent, Err: errors.New("a fault made for a test")}
}
