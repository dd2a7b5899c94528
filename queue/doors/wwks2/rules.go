package wwks2

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"decom/queue"
	"decom/queue/doors"
	"decom/worker/scan"
)

// Mode says which packs become scans.
type Mode string

// The modes of domain.md section 2 (article 25).
const (
	GoodsIn    Mode = "goods-in"
	RobotInput Mode = "robot-input"
	Exit       Mode = "exit"
)

// Modes lists them.
func Modes() []string { return []string{string(GoodsIn), string(RobotInput), string(Exit)} }

// Why a pack is not taken.
const (
	taking       = ""              // it is taken
	notCompleted = "not_completed" // the robot did not store it
	knownPack    = "known_pack"    // it comes back, or was opened
	noDelivery   = "no_delivery"   // goods-in, and no delivery number
)

// taken is a pack that becomes a scan.
type taken struct {
	scan   queue.Scan
	differ string // the attribute that contradicts the code, or ""
	pack   bool   // the code is a pack's
}

// read decides which packs of a document become scans.
func (l *Listener) read(from string, e envelope) (scans []taken, left map[string]int) {
	left = map[string]int{}
	msg, kind := e.Output, "output"
	if l.cfg.Mode != Exit {
		msg, kind = e.Input, "input"
	}
	if msg == nil {
		return nil, left
	}
	for _, a := range msg.Articles {
		for i := range a.Packs {
			p := &a.Packs[i]
			if why := l.cfg.Mode.refuses(msg, p); why != taking {
				left[why]++
				continue
			}
			scans = append(scans, l.event(from, e.TimeStamp, kind, msg, p))
		}
	}
	return scans, left
}

// refuses says why the mode does not take a pack of its kind of message; "": it does.
func (m Mode) refuses(msg *packMessage, p *pack) string {
	switch {
	case m == Exit:
		return taking // whatever the status: what is listed has left
	case !strings.EqualFold(p.Handling.Input, "Completed"):
		return notCompleted
	case !strings.EqualFold(msg.IsNewDelivery, "True") || p.opened():
		return knownPack
	case m == GoodsIn && p.DeliveryNumber == "":
		return noDelivery
	}
	return taking
}

func (l *Listener) event(from, at, kind string, msg *packMessage, p *pack) taken {
	t := taken{}
	text, conflict := unescape(p.ScanCode), ""
	f, isPack := l.deps.Read(text)
	if t.pack = isPack; isPack {
		if t.differ = differs(f, p); t.differ != "" {
			text, conflict = "", whatDiffers(f, p)
		}
	}
	fields := map[string]json.RawMessage{"scan": doors.Text(text)}
	d := doors.FromFields(fields)
	d.Default("operator", "robot")
	d.Default("ref", p.DeliveryNumber)
	d.Default("conflict", conflict)
	if when, err := time.Parse(time.RFC3339, at); err == nil {
		d.Default("at", scan.Time(when))
	}
	own := id(from, kind, msg, p)
	d.DefaultID(own)
	t.scan = queue.Scan{Site: l.cfg.Site, Device: l.cfg.Device, ID: l.cfg.Site + "/" + l.cfg.Device + "/" + own, Body: d.Body()}
	return t
}

// id is what stays the same when the robot tells a pack again: the time of the document and
// the status of the order do not.
func id(from, kind string, msg *packMessage, p *pack) string {
	h := sha256.New()
	for _, s := range []string{from, kind, msg.ID, p.ID, p.ScanCode} {
		_, _ = h.Write(append([]byte(s), 0)) // a hash never fails
	}
	return "w" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// unread are the sources of an expiry that nobody read from the pack (domain.md section 9).
var unread = []string{"autocalculated", "manualentry", "ocr", "infeed", "unknown"}

// differs names the attribute that contradicts the code, or nothing. A robot may know less
// than the code says; what it does say must be the same.
func differs(f scan.Fields, p *pack) string {
	switch {
	case p.BatchNumber != "" && p.BatchNumber != f.Batch:
		return "BatchNumber"
	case p.SerialNumber != "" && p.SerialNumber != f.Serial:
		return "SerialNumber"
	}
	date, err := time.Parse(time.DateOnly, p.ExpiryDate)
	if err != nil || p.ExpiryDate == "1899-12-31" || slices.Contains(unread, strings.ToLower(p.ExpiryDateSource)) {
		return ""
	}
	if date.Format("0601") != f.Expiry[:min(4, len(f.Expiry))] { // the day is made up where the code has 00
		return "ExpiryDate"
	}
	return ""
}

// whatDiffers is what a person needs to find the pack and to see which is wrong: what the
// code says, and each attribute that the robot gave beside it.
func whatDiffers(f scan.Fields, p *pack) string {
	var said strings.Builder
	said.WriteString("ScanCode " + f.Code + " / " + f.Serial + " / " + f.Batch + " / " + f.Expiry + " (YYMMDD)")
	for _, a := range []struct{ name, value string }{
		{"SerialNumber", p.SerialNumber}, {"BatchNumber", p.BatchNumber}, {"ExpiryDate", p.ExpiryDate}, {"ExpiryDateSource", p.ExpiryDateSource}, {"Pack Id", p.ID},
	} {
		if a.value != "" {
			said.WriteString("; " + a.name + " " + strings.ToValidUTF8(a.value[:min(len(a.value), 64)], "?"))
		}
	}
	return said.String()
}
