package consolidated

import (
	"regexp"
	"strings"
	"time"

	"decom/worker/scan"
)

// Bounds of one file. A delivery of a whole pallet train is some 60,000 packs, and the
// wordiest format takes some 300 bytes for one.
const (
	MaxRows  = 500_000
	MaxBytes = 256 << 20
)

// Row is one pack of a file that may be sent. The short names are those of storage.
type Row struct {
	N      int32   `json:"n"`           // number of the row: line of a CSV file, number of the identifier in an EPCIS file
	Scheme string  `json:"y,omitempty"` // GTIN or PPN
	Code   string  `json:"c"`
	Serial string  `json:"s"`
	Batch  string  `json:"b"`
	Expiry string  `json:"e"`           // YYMMDD; of a full date only what it says
	Full   bool    `json:"f,omitempty"` // the file had a full date: whether the pack says day 00 is not known
	Parent int32   `json:"p"`           // index of its container, -1 = none
	Deliv  []int32 `json:"d,omitempty"`
	// Shipped is false when the file says what was shipped and this pack is not in it.
	Shipped bool `json:"h"`
}

type packKey struct{ code, serial string }

func (r *Row) key() packKey { return packKey{r.Code, r.Serial} }

// Refusal is a row that is not taken.
type Refusal struct {
	N      int32  `json:"row"`
	Line   int    `json:"line,omitempty"`
	Reason Reason `json:"reason"`
	Field  string `json:"field,omitempty"`
	Value  string `json:"value,omitempty"` // of that field, cut short
	Unseen bool   `json:"unseen,omitempty"`
}

// Container is what packs are in: an SSCC, or a case with a code of its own.
type Container struct {
	ID     string `json:"id"`               // 18 digits, or 01...21... of a case
	Parent int32  `json:"parent"`           // -1 = none
	Opened bool   `json:"opened,omitempty"` // the file says that something was taken out
}

// List is a file that was read.
type List struct {
	Format     string // epcis-xml, epcis-json, csv
	Sender     string // as the file names it, or ""
	Rows       []Row
	Refused    []Refusal
	Containers []Container
	Deliveries []string
	Ignored    int // events that say nothing of contents
}

// Declared is how many packs the file lists, refused ones included.
func (l *List) Declared() int { return len(l.Rows) + len(l.Refused) }

// Check judges a pack's fields by the rules of a data carrier (domain.md section 5). It
// returns "" or the reason and the field. The program hands in the worker's own check.
type Check func(scan.Fields) (reason Reason, field string)

// damage of spreadsheets. Both forms are legal characters of a serial, so the check of a
// data carrier does not see them.
var (
	exponent = regexp.MustCompile(`^[0-9]([.,][0-9]+)?[eE]\+[0-9]+$`)
	decimals = regexp.MustCompile(`^[0-9]+[.,]0+$`)
	someDate = regexp.MustCompile(`^([0-9]{1,2}[/.-][0-9]{1,2}[/.-]([0-9]{4}|[0-9]{2})|[0-9]{4}[/.][0-9]{1,2}[/.][0-9]{1,2})( .*)?$`)
	// As Excel writes it (nov-28, 12-Nov-28): a batch in capitals is none.
	dayMonth = regexp.MustCompile(`^([0-9]{1,2}-)?([jJ]an|[fF]eb|[fF].{1,2}v|[mM]ar|[aA]pr|[aA]vr|[mM]ay|[mM]ai|[jJ]u[nil]|[aA]ug|[aA]o.{1,2}t|[sS]ep|[oO]ct|[nN]ov|[dD]ec|[dD].{1,2}c)[a-z]*\.?-[0-9]{2}([0-9]{2})?$`)
)

// damaged looks for what spreadsheets do to a field.
func damaged(f *scan.Fields) (Reason, string) {
	for _, it := range []struct{ name, value string }{{"code", f.Code}, {"serial", f.Serial}, {"batch", f.Batch}, {"expiry", f.Expiry}} {
		switch {
		case exponent.MatchString(it.value), decimals.MatchString(it.value):
			return ExcelNumber, it.name
		case (it.name == "batch" || it.name == "expiry") && (someDate.MatchString(it.value) || dayMonth.MatchString(it.value)):
			return DateFormat, it.name
		}
	}
	switch {
	case f.Scheme == string(scan.GTIN) && digits(f.Code) && len(f.Code) >= 8 && len(f.Code) < 14:
		return ZerosLost, "code"
	case digits(f.Expiry) && len(f.Expiry) == 5:
		return ZerosLost, "expiry"
	case digits(f.Expiry) && len(f.Expiry) == 8:
		return DateFormat, "expiry" // YYYYMMDD or DDMMYYYY
	}
	return "", ""
}

// fullDate reads YYYY-MM-DD, with a time behind it or not; ok false for anything else.
func fullDate(text string) (yymmdd string, ok bool) {
	if len(text) > 10 && text[10] != 'T' && text[10] != 'Z' && text[10] != '+' {
		return "", false
	}
	if len(text) < 10 {
		return "", false
	}
	t, err := time.Parse(time.DateOnly, text[:10])
	if err != nil {
		return "", false
	}
	return t.Format("060102"), true
}

// matches says whether a printed expiry can be what a full date was made of: the same day,
// or day 00 where the date is the month's last or first day (both are seen).
func matches(full, printed string) bool {
	if full == printed {
		return true
	}
	if len(full) != 6 || len(printed) != 6 || full[:4] != printed[:4] || printed[4:] != "00" {
		return false
	}
	return full[4:] == "01" || full == monthEnd(full)
}

// monthEnd is the last day of a date's month. Centuries do not matter but for February of
// a year 00, which is not reached before 2100.
func monthEnd(yymmdd string) string {
	t, err := time.Parse("060102", yymmdd[:4]+"01")
	if err != nil {
		return ""
	}
	return t.AddDate(0, 1, -1).Format("060102")
}

// clip keeps a value of a report short.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
