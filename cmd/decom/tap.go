package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/scan"
)

// The stages that decom tap can follow.
const (
	tapScans    = "scans"
	tapOutcomes = "outcomes"
)

// tapFlags are the flags of decom tap.
type tapFlags struct {
	stages       []string
	site, device string
	limit        int
	since        time.Duration
	asJSON       bool
}

func newTapCommand(a *app) *cobra.Command {
	var f tapFlags
	c := &cobra.Command{
		Use:   "tap",
		Short: a.text("Suivre scans et résultats, numéros de série masqués", "Follow scans and outcomes, serials masked"),
		Long: a.text(`Montre les scans et les résultats à mesure qu'ils arrivent, jusqu'à Ctrl-C ou --limit. Ne prend rien
à personne : les comptes reçoivent tout comme sans lui. Un numéro de série n'est jamais montré ; la
clé (k=) est celle que decom pack affiche.`,
			`Shows scans and outcomes as they come, until Ctrl-C or --limit. It takes nothing from anybody: the
accounts get everything as without it. A serial is never shown; the key (k=) is the one that decom
pack shows.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.tap(c.Context(), f) },
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.stages, "stage", []string{tapScans, tapOutcomes}, "what to follow: scans, outcomes")
	fl.StringVar(&f.site, "site", "", "only this site")
	fl.StringVar(&f.device, "device", "", "only this device")
	fl.IntVar(&f.limit, "limit", 0, "end after so many lines; 0: never")
	fl.DurationVar(&f.since, "since", 0, "begin so far back, as in 10m; default: now")
	fl.BoolVar(&f.asJSON, "json", false, "one JSON object a line")
	return c
}

func (f *tapFlags) check() error {
	for _, s := range f.stages {
		if s != tapScans && s != tapOutcomes {
			return spokenUsagef("--stage %s : il y a scans et outcomes", "--stage %s: there are scans and outcomes", s)
		}
	}
	switch {
	case len(f.stages) == 0:
		return spokenUsagef("--stage : donner scans, outcomes ou les deux", "--stage: give scans, outcomes or both")
	case f.limit < 0:
		return spokenUsagef("--limit %d : 0 ou plus", "--limit %d: 0 or more", f.limit)
	case f.since < 0:
		return spokenUsagef("--since %s : 0s ou plus", "--since %s: 0s or more", f.since)
	case f.site != "" && !scan.ValidToken(f.site), f.device != "" && !scan.ValidToken(f.device):
		return spokenUsagef("--site et --device : de 1 à 64 caractères parmi A-Z a-z 0-9 _ -", "--site and --device are 1 to 64 of A-Z a-z 0-9 _ -")
	}
	return nil
}

// tapLine is one line of decom tap --json. No field can hold a serial.
type tapLine struct {
	Stage    string      `json:"stage"` // scans or outcomes
	At       string      `json:"at"`    // when the stream took it
	Seq      uint64      `json:"seq"`
	Site     string      `json:"site"`
	Device   string      `json:"device"`
	EventID  string      `json:"event_id"`
	Op       string      `json:"op,omitempty"`
	Code     string      `json:"product,omitempty"` // product code
	K        scan.PackID `json:"k,omitempty"`       // key of the pack
	Result   scan.Result `json:"result,omitempty"`
	Reason   scan.Reason `json:"reason,omitempty"`
	NMVSCode string      `json:"code,omitempty"`
	Account  string      `json:"account,omitempty"`
	Bytes    int         `json:"bytes,omitempty"` // of a scan's body
	serial   string      // to be masked wherever it stands
}

// errTapped ends the followers when --limit is reached.
var errTapped = errors.New("limit reached")

func (a *app) tap(ctx context.Context, f tapFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := a.loadConfig(needQueue)
	if err != nil {
		return err
	}
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // one line at a time
	shown := 0
	show := func(l tapLine) error {
		mu.Lock()
		defer mu.Unlock()
		if f.limit > 0 && shown >= f.limit {
			return errTapped
		}
		if err := a.printTap(l, f.asJSON); err != nil {
			return err
		}
		if shown++; shown == f.limit {
			return errTapped
		}
		return nil
	}
	since := time.Now().Add(-f.since)
	var followers sync.WaitGroup
	follow := func(stage string, read func() error) {
		if slices.Contains(f.stages, stage) {
			followers.Go(func() { cancel(read()) }) // the first to end ends the other, and is the cause
		}
	}
	follow(tapScans, func() error {
		return conn.ReadScans(ctx, f.site, f.device, since, func(s queue.StoredScan) error { return show(tapScan(s)) })
	})
	follow(tapOutcomes, func() error {
		filter := queue.OutcomeFilter{Site: f.site, Device: f.device, Since: since, Follow: true}
		return conn.Outcomes(ctx, filter, func(o queue.StoredOutcome) error { return show(tapOutcome(o)) })
	})
	followers.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, errTapped) && !endedBySignal(cause) {
		return cause
	}
	return nil
}

// endedBySignal says whether a person has had enough.
func endedBySignal(cause error) bool {
	_, yes := errors.AsType[stopped](cause)
	return yes || errors.Is(cause, context.Canceled)
}

// tapScan reads an event as the line does. What cannot be read is told by its reason
// only: its text may hold a serial.
func tapScan(s queue.StoredScan) tapLine {
	l := tapLine{Stage: tapScans, At: scan.Time(s.Stored), Seq: s.Seq, Site: s.Site, Device: s.Device, Bytes: len(s.Body)}
	e, err := scan.Decode(s.Body, s.Meta)
	l.EventID = e.ID
	if err != nil {
		l.Reason = scan.MalformedScan
		return l
	}
	l.Op = e.Op.String()
	r, rej := worker.Read(e, s.Stored)
	if rej != nil {
		l.Reason = rej.Reason
		return l
	}
	l.Code, l.K, l.serial = r.Pack.Code(), r.Pack.ID(), r.Pack.Serial()
	return l
}

func tapOutcome(o queue.StoredOutcome) tapLine {
	l := tapLine{Stage: tapOutcomes, At: scan.Time(o.Time), Seq: o.Seq, Site: o.Site, Device: o.Device, EventID: o.EventID}
	var body struct {
		Account string       `json:"account"`
		Op      string       `json:"op"`
		Pack    *scan.Fields `json:"pack"`
		Result  scan.Result  `json:"result"`
		Reason  scan.Reason  `json:"reason"`
		Code    string       `json:"code"`
	}
	if err := json.Unmarshal(o.Body, &body); err != nil {
		l.Reason = scan.MalformedScan
		return l
	}
	l.Account, l.Op, l.Result, l.Reason, l.NMVSCode = body.Account, body.Op, body.Result, body.Reason, body.Code
	if f := body.Pack; f != nil {
		l.Code, l.serial = f.Code, f.Serial
		if p, err := scan.NewPack(scan.Scheme(f.Scheme), f.Code, f.Serial, f.Batch, f.Expiry); err == nil {
			l.K = p.ID()
		}
	}
	return l
}

// masked returns the line without the serial, should a device have put it in its id.
func (l tapLine) masked() tapLine {
	if l.serial != "" {
		l.EventID = strings.ReplaceAll(l.EventID, l.serial, mask)
	}
	return l
}

func (a *app) printTap(l tapLine, asJSON bool) error {
	l = l.masked()
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(l)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-8s %s/%s %s", l.At, l.Stage, l.Site, l.Device, l.EventID)
	for _, s := range []string{l.Op, l.Code} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if l.K != "" {
		fmt.Fprintf(&b, " k=%s", l.K)
	}
	switch {
	case l.Result != "":
		fmt.Fprintf(&b, " %s", strings.TrimSuffix(string(l.Result)+"/"+string(l.Reason), "/"))
	case l.Reason != "":
		fmt.Fprintf(&b, " %s (%d bytes)", l.Reason, l.Bytes)
	}
	if l.NMVSCode != "" {
		b.WriteString(" " + l.NMVSCode)
	}
	_, err := fmt.Fprintln(a.stdout, b.String())
	return err
}
