package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"decom/queue"
	"decom/queue/doors/consolidated"
	"decom/worker/scan"
)

// ReceiptDoorConfig is a place where a scanned SSCC label is the receipt of its packs, which
// then become ordinary scans: what decom consolidated watch does, in the process of the doors.
type ReceiptDoorConfig struct {
	// Site and Device whose scans are looked at. Device empty: any of the site; a label that
	// is scanned for stock-taking would be a receipt, too.
	Site   string `yaml:"site"`
	Device string `yaml:"device"`
	// DeliveryNotes takes a scan whose whole text is a held file's delivery note, too. Default false.
	DeliveryNotes bool `yaml:"delivery_notes"`
	// Since is how far back a start looks for labels that nobody received. Default 168h, as long
	// as the stream keeps consumed scans.
	Since time.Duration `yaml:"since"`
}

// receiptsSince is the default of Since.
const receiptsSince = 7 * 24 * time.Hour

func (k *checker) receipts() {
	places := map[string]int{}
	for i, r := range k.c.Doors.Consolidated {
		prefix := "doors.consolidated." + strconv.Itoa(i) + "."
		if !scan.ValidToken(r.Site) {
			k.bad(prefix+"site", "must be 1 to 64 of A-Z a-z 0-9 _ -")
		}
		if r.Device != "" && !scan.ValidToken(r.Device) {
			k.bad(prefix+"device", "must be 1 to 64 of A-Z a-z 0-9 _ -, or nothing for every device of the site")
		}
		if r.Since < 0 {
			k.bad(prefix+"since", "%s: must not be negative", plainDuration(r.Since))
		}
		if first, twice := places[r.Site+"/"+r.Device]; twice {
			k.bad(prefix+"device", "%s/%s is that of doors.consolidated.%d already", r.Site, r.Device, first)
		}
		places[r.Site+"/"+r.Device] = i
		if len(k.c.Consolidated.Senders) == 0 {
			k.warn("doors.consolidated.%d receives nothing: consolidated.senders names nobody whose files are taken", i)
		}
	}
}

// receipts is one such place, ready to run.
type receipts struct {
	cfg  ReceiptDoorConfig
	c    *loaded
	conn *queue.Conn
	met  *doorMetrics
	log  *slog.Logger
}

// receiptPause is the wait before a watch that failed begins anew.
const receiptPause = 5 * time.Second

// run watches until ctx ends. A receipt is on the shelf before its packs are published, and
// they have the same ids however often: a death at any moment is made good by the next
// start, which looks at the same labels again.
func (r receipts) run(ctx context.Context) error {
	since := r.cfg.Since
	if since == 0 {
		since = receiptsSince
	}
	from := time.Now().Add(-since)
	for {
		err := r.watch(ctx, from)
		if ctx.Err() != nil {
			return nil
		}
		r.log.Warn("consolidated: labels are not watched, trying again", "err", err)
		select {
		case <-time.After(receiptPause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (r receipts) watch(ctx context.Context, from time.Time) error {
	shelf, err := r.conn.OpenShelf(ctx, true)
	if err != nil {
		return err
	}
	desk := consolidated.Desk{Shelf: shelf, Scans: r.conn, Check: checkRow, Rules: r.c.rules}
	return desk.Watch(ctx, r.conn, consolidated.Labels{Site: r.cfg.Site, Device: r.cfg.Device, Since: from, Notes: r.cfg.DeliveryNotes}, r.tell)
}

// tell says what came of a label; the receipt itself is on the shelf.
func (r receipts) tell(s consolidated.Seen) {
	if s.Behind > 0 {
		r.log.Warn("consolidated: a device scans labels faster than they are received: those behind the first ones wait in the queue", "device", s.Device, "in_memory", s.Behind)
		return
	}
	if p, ok := errors.AsType[*consolidated.Problem](s.Err); ok {
		r.met.count("consolidated", r.cfg.Site, 0, 1, 0)
		r.log.Warn("consolidated: a scanned label is no receipt", "device", s.Device, "ref", s.Ref, "why", p.Text.EN, "pourquoi", p.Text.FR)
		return
	}
	r.met.count("consolidated", r.cfg.Site, 1, 0, 0)
	r.log.Info("consolidated: received", "device", s.Device, "ref", s.Ref, "file", s.File.ID, "published_of_file", s.Count)
}
