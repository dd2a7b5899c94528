package worker

import (
	"errors"
	"fmt"
	"strconv"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// said is one outcome that a record brings, and its place in it.
type said struct {
	ref string // ACCOUNT/seq/i
	out scan.Outcome
}

// outcomesOf adds the outcomes of a record to outs: one for each note and for each final
// result or park (protocol.md section 7). opening fetches the record that opened an
// attempt, by its sequence and the attempt; it is asked for facts only. A fact whose opening
// is lost ([errNoOpening]) brings none: whose scan it was stands nowhere any more.
func outcomesOf(outs []said, account string, seq uint64, r *ledger.Record, opening func(uint64, string) (*ledger.Record, error)) ([]said, error) {
	from := len(outs)
	place := account + "/" + strconv.FormatUint(seq, 10) + "/"
	add := func(o ledger.Origin, p *scan.Pack, a *ledger.Answer, trx string, attempts, offset int) {
		site, device := splitSource(o.Src)
		out := scan.Outcome{V: 1, EventID: o.Ev, Site: site, Device: device, Account: account, Op: o.Op, Pack: p,
			Result: a.Result, Reason: a.Reason, Code: a.Code, State: a.State, StateReasons: a.Reasons, AlertID: a.AlertID,
			ClientTrxID: trx, NMVSTrxID: a.NMVSTrx, Attempts: attempts, NMVSAt: a.NMVSAt, At: r.At, Repaired: o.Repaired,
			Ref: o.Ref, Operator: o.Operator, ATD: o.ATD, Message: scan.Message(o.Op, a.Result, a.Reason)}
		if out.StateReasons == nil {
			out.StateReasons = []string{}
		}
		if a.Result == scan.Rejected && p == nil {
			out.Offset = &offset
		}
		outs = append(outs, said{place + strconv.Itoa(len(outs)-from), out})
	}
	for i := range r.Note {
		n := &r.Note[i]
		add(n.Origin, n.Pack, &n.Answer, n.Trx, 0, n.Offset)
		outs[len(outs)-1].out.Detail = n.Detail
		if n.Reason == scan.Conflict && n.Detail != "" { // whoever has the pack in hand must see what was read
			m := &outs[len(outs)-1].out.Message
			m.FR, m.EN = m.FR+" Lu : "+n.Detail+".", m.EN+" Read: "+n.Detail+"."
		}
	}
	for i := range r.Fact {
		f := &r.Fact[i]
		if f.C == "" || f.Kind != ledger.Result && f.Kind != ledger.Park {
			continue
		}
		rec, err := opening(f.Of, f.C)
		if errors.Is(err, errNoOpening) {
			continue
		}
		if err != nil {
			return outs[:from], err
		}
		o := attemptOf(rec, f.C)
		if o == nil {
			return outs[:from], fmt.Errorf("record %d did not open attempt %s", f.Of, f.C)
		}
		for _, fp := range f.Packs {
			p, err := o.Pack(fp.I)
			if err != nil {
				return outs[:from], err
			}
			a, attempts := fp.Answer, o.Packs[fp.I].Calls
			if a == nil {
				a = &ledger.Answer{Result: scan.Unresolved, Reason: scan.ByPerson}
			}
			if a.Called {
				attempts++
			}
			add(o.Packs[fp.I].Origin, &p, a, o.Trx(fp.I), attempts, 0)
		}
	}
	return outs, nil
}

// errNoOpening says that another record stands where an attempt was opened: the ledger lost that
// one. Waited for, it would hold up every later outcome of the account.
var errNoOpening = errors.New("the record that opened the attempt is lost")

func attemptOf(r *ledger.Record, c string) *ledger.Open {
	for i := range r.Open {
		if r.Open[i].C == c {
			return &r.Open[i]
		}
	}
	return nil
}

func splitSource(src string) (site, device string) {
	for i := 0; i < len(src); i++ {
		if src[i] == '/' {
			return src[:i], src[i+1:]
		}
	}
	return src, ""
}

// outcomeBytes is about what an outcome takes as JSON.
const outcomeBytes = 1024

// body renders an outcome for the stream behind buf, and returns it and the whole.
func (s *said) body(buf []byte) (body, all []byte, err error) {
	from := len(buf)
	if buf, err = s.out.AppendJSON(buf); err != nil {
		return nil, nil, err
	}
	return buf[from:len(buf):len(buf)], buf, nil
}
