package httpdoor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"decom/queue"
	"decom/queue/doors"
	"decom/worker/scan"
)

// Receipt is what became of one scan of a request.
type Receipt struct {
	Index     int      `json:"index"`
	Status    int      `json:"status"` // 202 stored; else that of Problem
	ID        string   `json:"id,omitempty"`
	Sequence  uint64   `json:"sequence,omitempty"`
	Duplicate bool     `json:"duplicate"` // the stream had it already; Sequence is the first one's where it is known
	Warning   *Warning `json:"warning,omitempty"`
	Problem   *Problem `json:"problem,omitempty"`
}

// Warning says that a scan is stored, and will be rejected: its outcome will say the same.
type Warning struct {
	Result  scan.Result `json:"result"`
	Reason  scan.Reason `json:"reason"`
	Message scan.Text   `json:"message"`
}

// stored is the answer to a request with one scan.
type stored struct {
	Stream    string   `json:"stream"`
	Sequence  uint64   `json:"sequence"`
	Duplicate bool     `json:"duplicate"`
	ID        string   `json:"id"`
	Site      string   `json:"site"`
	Device    string   `json:"device"`
	Warning   *Warning `json:"warning,omitempty"`
}

// storedList is the answer to a request with several.
type storedList struct {
	Stream  string    `json:"stream"`
	Site    string    `json:"site"`
	Device  string    `json:"device"`
	Stored  int       `json:"stored"`
	Refused int       `json:"refused"`
	Items   []Receipt `json:"items"` // in the order of the request, which is that of storing
}

// post is POST /v1/scans.
func (d *Door) post(w http.ResponseWriter, r *http.Request, c caller) *Problem {
	leave, ok := place(c.pace.posts)
	if !ok {
		p := tooMany.problem(r, "")
		p.retry = time.Second
		return p
	}
	defer leave()
	if c.who.Device == AnyDevice {
		return whichDevice.problem(r, "")
	}
	if !d.deps.Queue.Up() {
		return away.problem(r, "")
	}
	form, ok := formOf(r)
	if !ok {
		return badType.problem(r, "")
	}
	body, problem := readBody(w, r, d.cfg)
	if problem != nil {
		return problem
	}
	items, many, err := split(form, body)
	switch {
	case err != nil:
		return badBody.problem(r, "not JSON: "+err.Error())
	case len(items) == 0:
		return noScan.problem(r, "")
	case len(items) > d.cfg.MaxItems:
		return tooLarge.problem(r, fmt.Sprintf("%d scans, at most %d", len(items), d.cfg.MaxItems))
	}
	if wait, err := c.pace.take(r.Context(), d.cfg.Rate, len(items)); err != nil {
		p := tooFast.problem(r, "")
		p.retry = wait
		return p
	}
	in := intake{door: d, r: r, who: c.who, items: items, many: many, trace: traceOf(r.Header)}
	if problem := in.read(); problem != nil {
		return problem
	}
	in.store()
	return in.answer(w)
}

// intake is one request's scans on their way.
type intake struct {
	door  *Door
	r     *http.Request
	who   Principal
	items []item
	many  bool

	trace    string // of the request; "" if it has none
	receipts []Receipt
	events   []scan.Event
	scans    []queue.Scan // those to be stored
	at       []int        // their places among the items
}

// traceOf is the request's W3C trace context as package queue wants it, or "". The scans of a
// request go on in it; what is malformed counts for none, and a state that is too long is left out.
func traceOf(h http.Header) string {
	parents := h["Traceparent"]
	if len(parents) != 1 || !traceparent.MatchString(parents[0]) {
		return ""
	}
	state := strings.Join(h["Tracestate"], ",")
	if state == "" || len(state) > 512 || strings.ContainsFunc(state, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		return parents[0]
	}
	return parents[0] + " " + state
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// idempotencyKey reads the header, with or without the quotes of a structured field.
func idempotencyKey(r *http.Request) (key string, ok bool) {
	key = r.Header.Get("Idempotency-Key")
	if len(key) >= 2 && strings.HasPrefix(key, `"`) && strings.HasSuffix(key, `"`) {
		key = key[1 : len(key)-1]
	}
	if len(key) > 64 {
		return "", false
	}
	for i := range len(key) {
		if key[i] < 0x20 || key[i] > 0x7e {
			return "", false
		}
	}
	return key, key != "" || r.Header.Get("Idempotency-Key") == ""
}

// read decodes every item and decides which ones are stored.
func (in *intake) read() *Problem {
	key, ok := idempotencyKey(in.r)
	if !ok {
		return badKey.problem(in.r, "")
	}
	query := in.r.URL.Query()
	in.receipts = make([]Receipt, len(in.items))
	in.events = make([]scan.Event, len(in.items))
	here := map[string][sha256.Size]byte{} // ids of this request
	for i := range in.items {
		it, out := &in.items[i], &in.receipts[i]
		out.Index = i
		if it.fault != nil {
			in.refuse(i, malformed, it.fault.Error())
			continue
		}
		for _, name := range []string{"op", "entry", "at", "ref", "operator"} {
			it.draft.Default(name, query.Get(name))
		}
		it.draft.DefaultID(itemID(key, i, in.many))
		body, ev, err := it.draft.Decode(in.who.Site, in.who.Device)
		if err != nil {
			if ev.ID != fallback {
				out.ID = ev.ID
			}
			in.refuse(i, malformed, err.Error())
			continue
		}
		out.ID, in.events[i] = ev.ID, ev
		seq, known, other := in.door.recent.find(ev)
		if first, twice := here[ev.ID]; twice && first != meaning(ev) {
			known, other = true, true
		}
		here[ev.ID] = meaning(ev)
		switch {
		case other:
			in.refuse(i, idReused, "")
			continue
		case known:
			out.Status, out.Sequence, out.Duplicate = http.StatusAccepted, seq, true
		default:
			in.scans = append(in.scans, queue.Scan{Site: in.who.Site, Device: in.who.Device, ID: messageID(ev, body), Body: body, Trace: in.trace})
			in.at = append(in.at, i)
		}
		if in.door.deps.Read != nil {
			out.Warning = in.door.deps.Read(ev)
		}
	}
	return nil
}

// fallback is the id that an event has when none could be read.
const fallback = "0@DECOM_SCANS"

// itemID is the id of a scan that brings none: made of the key, so that the request sent
// again is the same scans, or made up.
func itemID(key string, i int, many bool) string {
	switch {
	case key == "":
		return doors.NewID()
	case !many:
		return key
	}
	id := fmt.Sprintf("%s#%d", key, i)
	if len(id) > 64 {
		sum := sha256.Sum256([]byte(id))
		id = base64.RawURLEncoding.EncodeToString(sum[:18])
	}
	return id
}

// messageID is what the stream tells copies apart by. See the package comment.
func messageID(e scan.Event, body []byte) string {
	sum := sha256.Sum256(body)
	return e.Source() + "/" + e.ID + "/" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

func (in *intake) refuse(i int, k kind, why string) {
	in.receipts[i].Status, in.receipts[i].Problem = k.status, k.problem(in.r, why)
	in.receipts[i].Warning = nil
}

// store publishes what is to be stored and waits for the stream. A sender that went away
// meanwhile changes nothing: it does not know, and will ask again.
func (in *intake) store() {
	if len(in.scans) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(in.r.Context()), in.door.cfg.Patience)
	defer cancel()
	acks, err := in.door.deps.Queue.PublishScans(ctx, in.scans)
	if err != nil {
		in.door.deps.Log.Warn("HTTP door: scans were not acknowledged", "site", in.who.Site, "device", in.who.Device, "scans", len(in.scans), "err", err)
	}
	for n, i := range in.at {
		if n >= len(acks) || acks[n].Seq == 0 {
			in.refuse(i, notStored, "")
			continue
		}
		out := &in.receipts[i]
		out.Status, out.Sequence, out.Duplicate = http.StatusAccepted, acks[n].Seq, acks[n].Duplicate
		in.door.recent.store(in.events[i], acks[n].Seq)
	}
}

// answer says what became of it. Only what the sender must not send again as it is gets
// an answer below 500.
func (in *intake) answer(w http.ResponseWriter) *Problem {
	var yes, no, later int
	for i := range in.receipts {
		switch s := in.receipts[i].Status; {
		case s == http.StatusAccepted:
			yes++
		case s >= 500:
			later++
		default:
			no++
		}
	}
	in.door.deps.Count(in.who, yes, no, later)
	if !in.many {
		out := &in.receipts[0]
		if out.Problem != nil {
			return out.Problem
		}
		reply(w, http.StatusAccepted, stored{queue.StreamScans, out.Sequence, out.Duplicate, out.ID, in.who.Site, in.who.Device, out.Warning})
		return nil
	}
	k := kind{}
	switch {
	case later > 0 && yes+no == 0:
		k = notStored
	case later > 0:
		k = partly
	case yes == 0:
		k = noneStored
	}
	if k.code != "" {
		p := k.problem(in.r, "")
		p.Items = in.receipts
		return p
	}
	status := http.StatusAccepted
	if no > 0 {
		status = http.StatusMultiStatus
	}
	reply(w, status, storedList{queue.StreamScans, in.who.Site, in.who.Device, yes, no, in.receipts})
	return nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(cmp.Or(status, http.StatusOK))
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the caller went away
}
