package sim

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"decom/nmvs"
)

// maxBody is the largest request read: 100,000 items of a mixed bulk, about
// 600 bytes each.
const maxBody = 80 << 20

// Path is where a service of an interface version is served
// (nmvs-interface.md 1.2).
func Path(svc nmvs.Service, version int) string {
	v := strconv.Itoa(version) + "0"
	switch svc {
	case nmvs.Bulk:
		return "/WS_BULK_TRANSACTIONS_V1/BulkServiceV" + v
	case nmvs.Mixed:
		return "/WS_MIXED_BULK_TRANSACTIONS_V1/MixedBulkServiceV" + v
	case nmvs.Support:
		return "/WS_SUPPORT_V1/SupportServiceV" + v
	}
	return "/WS_SINGLE_TRANSACTIONS_V1/SinglePackServiceV" + v
}

// Handler serves all four services, each at its [Path]. A service is asked for
// by the path, the operation by the root element, never by the SOAP action.
// Faults that tear the connection panic with http.ErrAbortHandler where the
// connection cannot be taken over.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, svc := range nmvs.Services() {
		mux.HandleFunc(Path(svc, s.cfg.Version), func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, svc) })
	}
	return mux
}

func (s *Sim) serve(w http.ResponseWriter, r *http.Request, svc nmvs.Service) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/soap+xml" && t != "text/xml" {
		http.Error(w, "only application/soap+xml and text/xml", http.StatusUnsupportedMediaType)
		return
	}
	if r.ContentLength > maxBody {
		http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		return
	}
	body, err := readBody(r)
	if err != nil {
		return // the client broke off: nothing of it was taken in
	}
	if len(body) > maxBody {
		http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		return
	}
	c := &call{svc: svc, came: time.Now()}
	c.q, c.bad = parse(body, s.table, s.parseOptions())
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		c.q.cert = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	s.arrive(c)
	s.sleep(time.Until(c.came.Add(c.before)))
	res := s.run(c)
	s.sleep(time.Until(c.came.Add(c.before + c.after))) // so that a timer's lateness does not count twice
	s.deliver(w, r, c, res)
}

func readBody(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	return b.Bytes(), err
}

func (s *Sim) parseOptions() parseOptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return parseOptions{version: s.cfg.Version, mixedUndo: s.set.Rules.MixedUndo, list: s.list, items: s.table.byCode}
}

// sleep spends latency. The client's leaving does not end it: the server works on.
func (s *Sim) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	}
}

// call is one request on its way through.
type call struct {
	svc           nmvs.Service
	q             *request
	bad           *refusal
	fault         *Fault
	maintained    bool
	came          time.Time
	before, after time.Duration
}

// arrive counts the call and decides what will happen to it, in the order of
// arrival; that order and the seed make a run repeatable.
func (s *Sim) arrive(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.settle()
	name := "invalid"
	if c.q.op != nil {
		name = c.q.op.Code
	}
	s.book.c.Calls[name]++
	_, in := s.set.Maintenance.at(now)
	if c.maintained = in || s.set.Maintenance.On; c.maintained {
		s.book.c.Maintained++
		return
	}
	if c.fault = s.pickFault(c.q); c.fault != nil {
		s.book.c.Faults[c.fault.name()]++
	}
	l := &s.set.Latency
	d := time.Duration(l.Fixed)
	if l.Jitter > 0 {
		d += time.Duration(s.latency.Int64N(int64(l.Jitter) + 1))
	}
	if l.TailP > 0 && s.latency.Float64() < l.TailP {
		d += time.Duration(l.Tail)
	}
	if l.Foreign > 0 && len(c.q.serials) == 1 && c.q.op.Service == nmvs.Single {
		if p := s.products[string(c.q.product.scheme)+"|"+string(c.q.product.code)]; p != nil && p.foreign() {
			d += time.Duration(l.Foreign)
		}
	}
	c.before, c.after = d/2, d-d/2
}

// run carries the call out, or not, as its fault says.
func (s *Sim) run(c *call) *result {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.settle()
	switch {
	case c.maintained:
		r := s.newResult(now, "")
		if s.set.Maintenance.Mode == "error" {
			r.code = codeError
		} else {
			r.http, r.retry = http.StatusServiceUnavailable, s.set.Maintenance.RetryAfter
		}
		r.row = s.record(c.q, nil, r, "maintenance", 0)
		return r
	case c.fault != nil && (c.fault.When == Before || c.fault.When == Late):
		r := s.newResult(now, codeSuccess)
		r.tx = s.newTx()
		r.view = pretend(c.q)
		logged := *r
		logged.code = ""
		r.row = s.record(c.q, nil, &logged, c.fault.name(), 0)
		if c.fault.When == Late {
			s.schedule(now.Add(time.Duration(c.fault.Delay)), func(s *Sim, at time.Time) {
				s.book.c.LateCopies++
				s.execute(c, at, true)
			})
		}
		return r
	}
	return s.execute(c, now, false)
}

func (s *Sim) newResult(now time.Time, code string) *result {
	r := &result{code: code, at: now, set: s.set, style: s.set.Quirks.Prefixes}
	if r.style < 0 {
		r.style = int(s.book.last % 3)
	}
	return r
}

// pretend makes up the pack of a success that did not happen, for faults that
// need an answer to spoil.
func pretend(q *request) *packView {
	if len(q.serials) != 1 || q.op.Service != nmvs.Single {
		return nil
	}
	v := &packView{
		scheme: string(q.product.scheme), code: string(q.product.code), serial: string(q.serials[0]),
		batch: string(q.product.batch), expiry: string(q.product.expiry), state: "ACTIVE",
	}
	if q.op.changes && !q.op.undo {
		v.state, v.reasons = "INACTIVE", []string{q.op.Reason}
	}
	return v
}

// record writes the ledger line of a call that looked at no pack.
func (s *Sim) record(q *request, a *account, r *result, fault string, flags uint8) uint64 {
	if a == nil && len(q.client) > 0 {
		a = s.accounts[[2]string{string(q.client), string(q.user)}]
	}
	w := row{
		at: r.at.UnixNano(), cid: string(q.cid), tx: r.tx, account: a, op: q.op,
		code: s.book.word(r.code), fault: s.book.word(fault), flags: flags,
	}
	if len(q.serials) == 1 && q.op.Service == nmvs.Single {
		w.serial = string(q.serials[0])
		w.product = &product{scheme: string(q.product.scheme), code: string(q.product.code), market: Home}
	}
	if r.code != "" {
		s.book.c.Codes[r.code]++
	}
	return s.book.add(w, s.set.LedgerLimit)
}

// execute is the order of checks of nmvs-interface.md 1.18, from the schema on.
func (s *Sim) execute(c *call, now time.Time, late bool) *result {
	q, r := c.q, s.newResult(now, "")
	flags, fault := uint8(0), ""
	if late {
		flags = rowLate
	}
	if c.fault != nil && !late {
		fault = c.fault.name()
	}
	switch {
	case c.bad != nil:
		r.code, r.tx = c.bad.code, s.newTx()
		if q.op == nil || !q.headed || q.op.Service != c.svc {
			r.fault, r.message = "Sender", r.code+": "+c.bad.why
		}
		if s.set.Rules.SchemaStatus != 200 {
			r.http = s.set.Rules.SchemaStatus
		}
	case q.op.Service != c.svc && q.op != s.list:
		r.code = codeNoEndpoint
		if q.op.Kind == nmvs.KindPing {
			r.fault, r.message = "Sender", r.code
		}
	case q.op.Kind == nmvs.KindPing:
	default:
		r.tx = s.newTx()
		var a *account
		a, r.code, r.notes = s.login(q, now)
		if r.code == "" {
			r.code = s.admit(q, a, r, now)
		}
		if r.code == "" && s.perform(c, a, r, late, fault) {
			return r // the pack's line in the ledger is written
		}
	}
	r.row = s.record(q, nil, r, fault, flags)
	return r
}

// admit is what follows the login: frequency, ClientTrxId, right to call.
func (s *Sim) admit(q *request, a *account, r *result, now time.Time) string {
	switch {
	case s.tooFast(a, q.op, now):
		s.book.c.TooFast++
		if s.set.Limit.Mode == "429" {
			r.http, r.retry = http.StatusTooManyRequests, s.set.Limit.RetryAfter
		}
		return codeTooFast
	case !s.newTrxID(a, q.cid):
		return codeTrxUsed
	case slices.Contains(a.Deny, q.op.Code):
		return codeNoRight
	}
	return ""
}

// newTrxID remembers a ClientTrxId; false if it was used before.
func (s *Sim) newTrxID(a *account, cid []byte) bool {
	if s.set.Rules.AllowTrxReuse {
		return true
	}
	if _, used := a.client.used[string(cid)]; used {
		return false
	}
	a.client.used[string(cid)] = struct{}{}
	return true
}

// perform does the operation. It reports whether the ledger has it already.
func (s *Sim) perform(c *call, a *account, r *result, late bool, fault string) bool {
	q := c.q
	switch q.op.Kind {
	case nmvs.KindSingle, nmvs.KindManual, nmvs.KindUndo:
		v, n := s.carryOut(attempt{
			op: q.op, account: a, product: q.product, serial: q.serials[0], ref: q.ref,
			cid: string(q.cid), tx: r.tx, at: r.at, late: late, fault: fault,
		})
		r.view, r.code, r.row = &v, v.ret, n
		return true
	case nmvs.KindBulk, nmvs.KindBulkUndo, nmvs.KindMixed:
		var crash *Fault
		if c.fault != nil && c.fault.Kind == Crash {
			crash = c.fault
		}
		r.code = s.submit(q, a, string(q.cid), r.tx, r.at, crash)
	case nmvs.KindResult:
		r.bulk, r.code = s.fetch(q, a, r.at)
	case nmvs.KindPassword:
		r.code = a.changePassword(q, r.at, time.Duration(s.set.Login.PasswordOverlap))
	case nmvs.KindTerms:
		r.code = a.acceptTerms(q.terms, s.set.Login.TermsVersion)
	case nmvs.KindHeader:
		r.code = codeSuccess
		newest := s.set.Login.TermsVersion
		switch {
		case q.op == s.list:
			r.list = s.listBulks(a, r.at)
		case newest == 0:
			r.code = codeNoTerms
		default:
			r.terms = &terms{newest, a.terms >= newest}
		}
	}
	return false
}
