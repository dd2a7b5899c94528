package worker

import (
	"strings"
	"time"

	"decom/nmvs"
	"decom/worker/scan"
)

// packFate is what becomes of one pack of an accepted bulk.
type packFate struct {
	late    time.Duration // executed that much later than the others
	silent  bool          // the result does not name it
	abroad  bool          // unknown product: a bulk does not ask other countries
	dropped bool          // never executed, and not named
}

// bulkFate is what becomes of an accepted bulk. The zero fate executes all packs at once.
type bulkFate struct {
	takes time.Duration // until its packs are executed
	packs map[int]packFate
}

// bulkJob is an accepted bulk.
type bulkJob struct {
	call  nmvs.Call
	codes map[int]string // of executed and refused packs
	ready bool
}

// patience is how long after its acceptance a bulk whose tx nobody recorded may still
// execute: inside the hold (A3). One whose tx is known has no such limit [B15].
const patience = 5 * time.Minute

// accept takes a bulk in and begins to process it.
func (r *registry) accept(call nmvs.Call) (nmvs.Answer, error) {
	tx := "T-" + call.C
	r.mu.Lock()
	_, twice := r.bulks[tx]
	if !twice {
		r.bulks[tx] = &bulkJob{call: call, codes: map[int]string{}}
	}
	var f bulkFate
	if r.bulkFate != nil {
		f = r.bulkFate(call.C, len(call.Packs))
	}
	r.mu.Unlock()
	if twice && r.refusesUsed {
		r.land(call)
		return r.answer(call, "NMVS_TE_TX_01", nil)
	}
	r.w.note("bulk %s accepted: %+v", call.C, f)
	r.w.flying.Go(func() { r.process(call, tx, f) })
	return nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: nmvs.Success, Code: "NMVS_SUCCESS", Tx: tx, At: time.Now()}}, nil
}

func (r *registry) process(call nmvs.Call, tx string, f bulkFate) {
	unknown := time.Now().Add(r.w.span(patience)) // until then it may be executed though nobody recorded its tx
	time.Sleep(f.takes + time.Second)
	r.mu.Lock()
	job := r.bulks[tx]
	for i := range call.Packs {
		pf := f.packs[i]
		switch {
		case pf.late > 0:
			continue
		case pf.abroad:
			job.codes[i] = "NMVS_NC_PC_01"
		case pf.dropped:
		default:
			if code := r.change(call, i); !pf.silent {
				job.codes[i] = code
			}
		}
		r.landPack(call, i)
	}
	job.ready = true
	r.mu.Unlock()
	for i := range call.Packs {
		if pf := f.packs[i]; pf.late > 0 {
			r.w.flying.Go(func() { r.straggle(call, i, pf.late, unknown) })
		}
	}
}

// straggle executes a pack long after the others, if anybody knows the bulk's tx.
func (r *registry) straggle(call nmvs.Call, i int, late time.Duration, unknown time.Time) {
	patience := max(time.Until(unknown), 0)
	time.Sleep(min(late, patience))
	known := false
	r.w.peek(func(f *folded) { known = f.submitted[call.C] })
	if known && late > patience {
		time.Sleep(late - patience)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known || late <= patience {
		r.w.note("bulk %s executes %s late", call.C, call.Packs[i].Serial)
		r.change(call, i)
	}
	r.landPack(call, i)
}

// result answers a poll: nothing until the bulk was processed, then what there is.
func (r *registry) result(call nmvs.Call) (nmvs.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ans := nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: nmvs.Success, Code: "NMVS_SUCCESS", Tx: call.Tx, At: time.Now()}}
	job := r.bulks[call.Tx]
	if job == nil || !job.ready {
		ans.Class, ans.Code = nmvs.NotReady, "NMVS_FE_TX_02"
		return ans, nil
	}
	for i := range job.call.Packs {
		code, named := job.codes[i]
		if !named {
			ans.Absent++
			continue
		}
		if code == "" {
			code = "NMVS_SUCCESS"
		}
		op := job.call.Op
		if job.call.Service == nmvs.Mixed {
			op = job.call.Packs[i].Op
		}
		wire, _ := nmvs.CodeFor(op, nmvs.Single, false, 5)
		v := nmvs.Classify(code, wire)
		pa := nmvs.PackAnswer{I: i, Serial: job.call.Packs[i].Serial, C: job.call.Packs[i].C,
			Finding: nmvs.Finding{Class: v.Class, Reason: v.Reason, Code: code, Tx: call.Tx, At: ans.At}}
		if v.Class == nmvs.Foreign {
			pa.AlertID = "FR-" + call.C
		}
		ans.Packs = append(ans.Packs, pa)
	}
	return ans, nil
}

// list answers a listing with every accepted bulk.
func (r *registry) list(call nmvs.Call) (nmvs.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ans := nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: nmvs.Success, At: time.Now()}}
	for tx, job := range r.bulks {
		ans.Pending = append(ans.Pending, nmvs.Pending{C: job.call.C, Tx: tx})
	}
	return ans, nil
}

// nameOf is a call in a trace.
func nameOf(call nmvs.Call) string {
	if call.Act != nmvs.ActPacks {
		return [...]string{nmvs.ActPoll: "poll ", nmvs.ActPing: "ping ", nmvs.ActList: "list "}[call.Act] + call.Tx
	}
	var s strings.Builder
	s.WriteString(call.Service.String() + " " + call.C)
	for _, p := range call.Packs {
		op := call.Op
		if op == scan.Op(0) {
			op = p.Op
		}
		s.WriteString(" " + op.String() + ":" + p.Serial)
	}
	return s.String()
}
