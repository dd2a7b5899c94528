package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Stage is one step of the line alone, on one goroutine: what the step allows when
// nothing else runs. An operation is one pack; steps of a batch take 500 at once.
type Stage struct {
	Name      string  `json:"name"`
	N         int     `json:"n"`
	NS        float64 `json:"ns_per_op"`
	PerSecond float64 `json:"ops_per_second"`
	Allocs    float64 `json:"allocs_per_op"`
}

// stageTime is how long a step is measured.
const stageTime = 500 * time.Millisecond

// stageBatch is the packs of one batch.
const stageBatch = 500

// timed repeats step, which handles per packs, for about stageTime.
func timed(name string, per int, step func() error) (Stage, error) {
	if err := step(); err != nil { // warms buffers, and shows what does not work at all
		return Stage{}, fmt.Errorf("%s: %w", name, err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, n := time.Now(), 0
	for block := 1; time.Since(began) < stageTime; block = min(2*block, 1024) { // the clock is not asked each time
		for range block {
			if err := step(); err != nil {
				return Stage{}, fmt.Errorf("%s: %w", name, err)
			}
			n++
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	packs := float64(n * per)
	return Stage{Name: name, N: n * per, NS: float64(took.Nanoseconds()) / packs, PerSecond: packs / took.Seconds(),
		Allocs: float64(after.Mallocs-before.Mallocs) / packs}, nil
}

// stages measures every step alone, with servers of its own.
func (c *Config) stages(ctx context.Context) (list []Stage, err error) {
	one := *c
	one.Accounts, one.Profile, one.Quota, one.BulkQuota, one.Latency, one.Jitter = 1, Backlog, 0, 0, 0, 0
	r, err := newRig(ctx, &one, filepath.Join(c.Dir, "stages"))
	defer r.close()
	if err != nil {
		return nil, err
	}
	s := &stager{cfg: &one, rig: r, account: r.names[0]}
	for _, it := range []struct {
		name string
		run  func(context.Context, string) (Stage, error)
	}{
		{"decode", s.decode}, {"parse", s.parse}, {"record-encode", s.recordEncode}, {"record-decode-fold", s.fold}, {"view-apply", s.viewApply},
		{"xml-encode-sha256", s.encode}, {"xml-call-decode", s.call}, {"append", s.append}, {"fetch-ack", s.fetch}, {"outcomes", s.outcomes},
	} {
		if err := ctx.Err(); err != nil {
			return list, context.Cause(ctx)
		}
		c.tell(Event{What: "stage", Name: it.name})
		stage, err := it.run(ctx, it.name)
		if errors.Is(err, errNoRedis) {
			continue // said among the notes
		}
		if err != nil {
			return list, err
		}
		list = append(list, stage)
	}
	return list, nil
}

// stager has what the steps share.
type stager struct {
	cfg     *Config
	rig     *rig
	account string
	head    ledger.Head
	n       int // records made so far
}

var errNoRedis = errors.New("no redis-server")

func meta() scan.Meta {
	return scan.Meta{Site: "site-1", Device: "bench", Seq: 1, Stored: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), MsgID: "x"}
}

func (s *stager) decode(_ context.Context, name string) (Stage, error) {
	body, m := scanOf("stage", 1).Body, meta()
	return timed(name, 1, func() error { _, err := scan.Decode(body, m); return err })
}

func (s *stager) parse(_ context.Context, name string) (Stage, error) {
	e, err := scan.Decode(scanOf("stage", 1).Body, meta())
	if err != nil {
		return Stage{}, err
	}
	now := meta().Stored
	return timed(name, 1, func() error {
		if _, rejected := worker.Read(e, now); rejected != nil {
			return fmt.Errorf("rejected: %s", rejected.Reason)
		}
		return nil
	})
}

// record is a mixed bulk's opening: what a record of a batch looks like.
func (s *stager) record(packs int) *ledger.Record {
	s.n++
	o := ledger.Open{C: nmvs.NewTrxID(), Svc: ledger.Mixed, SHA: fmt.Sprintf("%064d", s.n)}
	for i := range packs {
		product := &ledger.Product{Scheme: scan.GTIN, Code: gtin(i % 20), Batch: "LOT01", Expiry: "291100"}
		o.Packs = append(o.Packs, ledger.OpenPack{Serial: fmt.Sprintf("S%06d%04d", s.n, i), C: nmvs.NewTrxID(), Product: product,
			Origin: ledger.Origin{Ev: fmt.Sprintf("stage-%d-%d", s.n, i), Src: "site-1/bench", Key: 1763806530000, Op: scan.Supply}})
	}
	return &ledger.Record{V: 2, Account: s.account, By: "bench#1", At: "2026-11-24T10:00:00Z", Open: []ledger.Open{o}}
}

func (s *stager) recordEncode(_ context.Context, name string) (Stage, error) {
	rec := s.record(stageBatch)
	return timed(name, stageBatch, func() error { _, err := ledger.Encode(rec, ledger.Head{}); return err })
}

func (s *stager) fold(_ context.Context, name string) (Stage, error) {
	payload, err := ledger.Encode(s.record(stageBatch), ledger.Head{})
	if err != nil {
		return Stage{}, err
	}
	return timed(name, stageBatch, func() error {
		rec, err := ledger.Decode(payload, s.account)
		if err != nil {
			return err
		}
		_, err = ledger.Fold(1, rec, ledger.States{})
		return err
	})
}

// viewApply is one view and one apply of a batch of new packs.
func (s *stager) viewApply(ctx context.Context, name string) (Stage, error) {
	if s.rig.redisURL == "" {
		return Stage{}, errNoRedis
	}
	store, err := packstate.Open(ctx, packstate.Config{URL: s.rig.redisURL})
	if err != nil {
		return Stage{}, err
	}
	defer store.Close()
	const account = "bench-stage"
	if _, err := store.Begin(ctx, account); err != nil {
		return Stage{}, err
	}
	head := ledger.Head{}
	return timed(name, stageBatch, func() error {
		rec := s.record(stageBatch)
		ks := rec.Touched()
		if st, _, err := store.View(ctx, account, head, ks); err != nil || st != packstate.OK {
			return errors.Join(err, fmt.Errorf("view: %v", st))
		}
		states := ledger.States{}
		next := ledger.Head{Seq: head.Seq + 1, Hash: fmt.Sprintf("%064x", head.Seq+1)}
		idx, err := ledger.Fold(next.Seq, rec, states)
		if err != nil {
			return err
		}
		if st, err := store.Apply(ctx, account, head, next, states, idx); err != nil || st != packstate.OK {
			return errors.Join(err, fmt.Errorf("apply: %v", st))
		}
		head = next
		return nil
	})
}

// mixed is a mixed bulk of n packs.
func mixed(n int) nmvs.Call {
	c := nmvs.Call{C: nmvs.NewTrxID(), Service: nmvs.Mixed, Packs: make([]nmvs.Pack, n)}
	for i := range c.Packs {
		c.Packs[i] = nmvs.Pack{Serial: fmt.Sprintf("SN%012d", i), C: nmvs.NewTrxID(), Op: scan.Supply,
			Product: nmvs.Product{Scheme: scan.GTIN, Code: gtin(i % 20), Batch: "LOT1", Expiry: "291100"}}
	}
	return c
}

func (s *stager) client(url string) (*nmvs.Client, error) {
	return nmvs.New(nmvs.Config{Endpoints: map[nmvs.Service]string{nmvs.Mixed: url}, Version: 5,
		Credentials: nmvs.Credentials{ClientLoginID: clientLogin(0), UserID: userLogin(0), Password: password}})
}

func (s *stager) encode(_ context.Context, name string) (Stage, error) {
	c, err := s.client("http://127.0.0.1:1/none") // a digest is rendered, not sent
	if err != nil {
		return Stage{}, err
	}
	defer c.Close()
	call := mixed(stageBatch)
	return timed(name, stageBatch, func() error {
		if c.Digest(call) == "" {
			return errors.New("the call cannot be rendered")
		}
		return nil
	})
}

// call asks for the result of a bulk over plain HTTP on loopback, from a stub that
// answers at once with a ready text: request, wire and the reading of 500 results.
func (s *stager) call(ctx context.Context, name string) (Stage, error) {
	poll := mixed(stageBatch)
	poll.Act, poll.Tx = nmvs.ActPoll, "T1"
	reply := mixedReply(poll)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
		_, _ = w.Write(reply)
	}))
	defer srv.Close()
	c, err := s.client(srv.URL)
	if err != nil {
		return Stage{}, err
	}
	defer c.Close()
	return timed(name, stageBatch, func() error {
		a, err := c.Do(ctx, poll)
		if err == nil && (len(a.Packs) != stageBatch || a.Packs[stageBatch-1].Class != nmvs.Success) {
			err = fmt.Errorf("%d results", len(a.Packs))
		}
		return err
	})
}

// mixedReply is NMVS's answer to a poll: every pack is done.
func mixedReply(poll nmvs.Call) []byte {
	const stamp = "2026-11-24T10:00:00Z"
	var b bytes.Buffer
	fmt.Fprintf(&b, `<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"><soap:Body><m:G196Response xmlns:t="urn:types.nmvs.eu:v5.0" xmlns:m="urn:wsdltypes.nmvs.eu:v5.0"><t:Header><t:Auth><t:ClientLoginId>%s</t:ClientLoginId><t:UserId>%s</t:UserId></t:Auth><t:Transaction><t:Language>eng</t:Language><t:ClientTrxId>%s</t:ClientTrxId><t:NMVSTrxId>D1</t:NMVSTrxId><t:Timestamp>%s</t:Timestamp></t:Transaction></t:Header><t:Body><t:TrxList>`,
		clientLogin(0), userLogin(0), poll.C, stamp)
	for _, p := range poll.Packs {
		fmt.Fprintf(&b, `<t:TrxItem t:reqType="G120"><t:Transaction><t:Language>eng</t:Language><t:ClientTrxId>%s</t:ClientTrxId><t:NMVSTrxId>E1</t:NMVSTrxId><t:Timestamp>%s</t:Timestamp></t:Transaction><t:Product><t:ProductCode t:scheme="GTIN">%s</t:ProductCode><t:Batch><t:Id>%s</t:Id><t:ExpDate>%s</t:ExpDate></t:Batch></t:Product><t:Pack t:sn="%s" t:state="INACTIVE"><t:Reason>SUPPLIED</t:Reason><t:ReturnCode t:code="NMVS_SUCCESS"/></t:Pack></t:TrxItem>`,
			p.C, stamp, p.Product.Code, p.Product.Batch, p.Product.Expiry, p.Serial)
	}
	b.WriteString(`</t:TrxList><t:ReturnCode t:code="NMVS_SUCCESS"/></t:Body></m:G196Response></soap:Body></soap:Envelope>`)
	return b.Bytes()
}

// append puts records of a batch behind each other; fsynced unless NoFsync.
func (s *stager) append(ctx context.Context, name string) (Stage, error) {
	book := s.rig.conn.Ledger(s.account)
	return timed(name, stageBatch, func() error {
		payload, err := ledger.Encode(s.record(stageBatch), s.head)
		if err != nil {
			return err
		}
		s.head, err = book.Append(ctx, s.head, payload)
		return err
	})
}

func (s *stager) fetch(ctx context.Context, name string) (Stage, error) {
	scans := s.rig.conn.Scans(s.account)
	round := 0
	var left int
	fill := func() error {
		round++
		list := scansOf(fmt.Sprintf("f%d", round), 40*stageBatch)
		for i := range list {
			list[i].Site = s.rig.sites[0]
		}
		for block := range slices.Chunk(list, publishMost) {
			if _, err := s.rig.conn.PublishScans(ctx, block); err != nil {
				return err
			}
		}
		left += len(list)
		return nil
	}
	if err := fill(); err != nil {
		return Stage{}, err
	}
	began, n := time.Duration(0), 0
	for began < stageTime { // filling up is not part of it
		at := time.Now()
		ds, err := scans.Fetch(ctx, stageBatch, 20*time.Millisecond, 0)
		if err == nil {
			err = queue.AckAll(ctx, ds)
		}
		if err != nil {
			return Stage{}, fmt.Errorf("%s: %w", name, err)
		}
		began += time.Since(at)
		n += len(ds)
		if left -= len(ds); left < stageBatch {
			if err := fill(); err != nil {
				return Stage{}, err
			}
		}
	}
	return Stage{Name: name, N: n, NS: float64(began.Nanoseconds()) / float64(n), PerSecond: float64(n) / began.Seconds()}, nil
}

func (s *stager) outcomes(ctx context.Context, name string) (Stage, error) {
	body, n := bytes.Repeat([]byte("x"), 400), 0
	list := make([]queue.Outcome, stageBatch)
	return timed(name, stageBatch, func() error {
		for i := range list {
			n++
			list[i] = queue.Outcome{Site: s.rig.sites[0], Device: "bench", EventID: fmt.Sprint("o", n), Ledger: "a/1/1", Body: body}
		}
		_, err := s.rig.conn.PublishOutcomes(ctx, list)
		return err
	})
}
