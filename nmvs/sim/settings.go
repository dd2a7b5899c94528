package sim

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Duration is a time.Duration that JSON writes as "1m30s".
type Duration time.Duration

// MarshalText gives Go's form of a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's form of a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Settings is the behaviour that can change while the simulator runs. The zero
// value is the default of every field. "Setting" in nmvs-interface.md 1.12,
// 1.18 and 1.20 is the source, except where a comment says "ours".
type Settings struct {
	Rules       Rules       `json:"rules"`
	Login       Login       `json:"login"`
	Limit       Limit       `json:"limit"`
	Latency     Latency     `json:"latency"`
	Maintenance Maintenance `json:"maintenance"`
	Bulk        BulkRules   `json:"bulk"`
	AutoStock   AutoStock   `json:"auto_stock"`
	Quirks      Quirks      `json:"quirks"`
	// Faults are tried in order on every call, after the scripted ones of
	// [Sim.Inject]; the first that fires is the only one.
	Faults []Rule `json:"faults"`
	// LedgerLimit is how many of the newest entries are kept at least; up to
	// twice as many may be there. 0 means all, negative none. Counts stay exact.
	LedgerLimit int `json:"ledger_limit"`
}

// Rules is what may follow what (nmvs-interface.md 1.12 and 1.13).
type Rules struct {
	AllowTrxReuse         bool     `json:"allow_trx_reuse"`         // a ClientTrxId may come twice; default: TE_TX_01
	SchemaStatus          int      `json:"schema_status"`           // HTTP status of TE_XM_01 and TE_XM_02: 200 (default) or 400
	Tolerance             int      `json:"tolerance"`               // repeats of one change by the same user answered PCK_23; default 0
	RepeatCode            string   `json:"repeat_code"`             // change on an inactive home pack; default NMVS_NC_PCK_22
	ForeignRepeatCode     string   `json:"foreign_repeat_code"`     // same property on an intermarket pack; default NMVS_NC_PCK_19
	NoAlertTwins          bool     `json:"no_alert_twins"`          // V5: the codes without alert (PCK_28, 29, 30, 31, PC_14, LOT_15, 17, 18)
	VerifyInactiveCode    string   `json:"verify_inactive_code"`    // G110 on an inactive pack; default NMVS_SUCCESS, or NMVS_NC_PCK_03
	ExpiryByMonth         bool     `json:"expiry_by_month"`         // compare YYMM only; default: all six digits
	UndoWindow            Duration `json:"undo_window"`             // default 240h
	UndoByClient          bool     `json:"undo_by_client"`          // an undo by another user of the same client is fine; default: PCK_21
	LateUndoCode          string   `json:"late_undo_code"`          // default PCK_05 for supply, PCK_13 for destroy, PCK_20 for others
	OldUndoCodes          bool     `json:"old_undo_codes"`          // PCK_04, 07, 14 in place of PCK_06; always so in V2
	AllowRepeatedPacks    bool     `json:"allow_repeated_packs"`    // one pack twice in a G195; default: FE_REQ_02
	MixedUndo             string   `json:"mixed_undo"`              // element of an undo in G195: Item, ItemUndo or both; default by version
	BulkForeign           bool     `json:"bulk_foreign"`            // bulks reach other markets; default: PC_01
	ForeignReasonsUnknown bool     `json:"foreign_reasons_unknown"` // intermarket packs give UNKNOWN for every reason
	AlertPlace            string   `json:"alert_place"`             // attribute (default), element, desc, none (1.14)
	SkipCheckDigit        bool     `json:"skip_check_digit"`        // unknown GTIN with a wrong check digit: PC_01, not FE_GR_01 (ours)
	ListCode              string   `json:"list_code"`               // operation code of the O4 listing; default "": off
}

// Login is passwords, locks, terms, certificates (nmvs-interface.md 1.16).
type Login struct {
	LockAfter       int       `json:"lock_after"`       // bad logins until the account locks; default 3
	PasswordLife    Duration  `json:"password_life"`    // default 2160h (90 days)
	PasswordWarn    Duration  `json:"password_warn"`    // NOTIFY_AU_02 that long before the end; default 336h
	PasswordOverlap Duration  `json:"password_overlap"` // the old one works that long after G445; default 168h
	TermsVersion    int       `json:"terms_version"`    // newest terms; default 0: none
	TermsDeadline   time.Time `json:"terms_deadline"`   // after it, AU_23 until G483; zero: never
	BindCertificate bool      `json:"bind_certificate"` // the certificate's common name must be the UserId; else PKI_05
}

// Limit is the frequency limit (nmvs-interface.md 1.15), per account. A call
// too many is refused before anything else happens to it, and is counted.
type Limit struct {
	Calls      int      `json:"calls"`       // calls of single and support a Window; default 0: no limit
	Window     Duration `json:"window"`      // default 1s
	Bulks      int      `json:"bulks"`       // submits (G1x5, G1x7, G195) a BulkWindow; default 0: no limit. Polls are free
	BulkWindow Duration `json:"bulk_window"` // default 1m
	Mode       string   `json:"mode"`        // code (default): NMVS_FI_SE_CLI_01; 429: HTTP 429
	RetryAfter Duration `json:"retry_after"` // header with 429, whole seconds; default 0: no header
}

// Latency is how long a call takes, in real time: half before the effect and
// half between effect and answer. The server works on when the client leaves.
type Latency struct {
	Fixed   Duration `json:"fixed"`   // always
	Jitter  Duration `json:"jitter"`  // plus 0 to Jitter, evenly
	Tail    Duration `json:"tail"`    // plus this
	TailP   float64  `json:"tail_p"`  // for this share of the calls, 0 to 1
	Foreign Duration `json:"foreign"` // plus this for single calls on another market's product
}

// Maintenance is an announced outage. Calls are refused without effect, and
// bulks that fall due wait until it is over.
type Maintenance struct {
	On         bool     `json:"on"`
	Windows    []Window `json:"windows"`     // more outages, by the simulator's clock
	Mode       string   `json:"mode"`        // 503 (default) or error: NMVS_ERROR
	RetryAfter Duration `json:"retry_after"` // header with 503; default none
}

// Window is from From up to, not including, To.
type Window struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// BulkRules is the asynchronous half (nmvs-interface.md 1.9).
type BulkRules struct {
	Delay         Duration `json:"delay"`           // from the start of a bulk to its end; default 0: done at the next look
	PerPack       Duration `json:"per_pack"`        // plus this for each pack
	Capacity      int      `json:"capacity"`        // bulks worked on at one time, all accounts; more of them queue; default 0: all
	Retention     Duration `json:"retention"`       // results are kept that long; default 24h
	ReadOnce      bool     `json:"read_once"`       // a result can be fetched once
	OnePerAccount bool     `json:"one_per_account"` // a second one of an account and service: FI_BAT_01
	MissP         float64  `json:"miss_p"`          // share of packs missing in results though worked on
	InOrder       bool     `json:"in_order"`        // results in the order of the request; default: shuffled
}

// AutoStock creates products and packs at first sight, for load tests. The
// pack takes batch and expiry of the request that asks first (manual: batch
// AUTO, expiry 991231). Ours.
type AutoStock struct {
	On            bool    `json:"on"`
	UnknownPrefix string  `json:"unknown_prefix"` // serials that begin so stay unknown; default "": none
	UnknownP      float64 `json:"unknown_p"`      // and this share of the rest, chosen by the serial and the seed
}

// Quirks is what a reply may look like without being wrong (nmvs-interface.md
// 1.7, 1.18).
type Quirks struct {
	UnknownElements bool   `json:"unknown_elements"` // elements and attributes from nowhere
	UnknownReason   string `json:"unknown_reason"`   // added to inactive packs
	Reasons         int    `json:"reasons"`          // inactive packs get reasons up to this number, at most 20
	NoDesc          bool   `json:"no_desc"`          // ReturnCode without desc
	NoPack          bool   `json:"no_pack"`          // refusals without Product and Pack
	Prefixes        int    `json:"prefixes"`         // 0: ns1/ns2 as seen; 1: others, attributes turned round; 2: default namespace; -1: in turn
}

// Validate reports every problem at once.
func (s Settings) Validate() error {
	var errs []error
	oneOf := func(name, v string, allowed ...string) {
		if slices.Contains(allowed, v) {
			return
		}
		errs = append(errs, fmt.Errorf("%s: %q is not one of %q", name, v, allowed))
	}
	share := func(name string, p float64) {
		if p < 0 || p > 1 {
			errs = append(errs, fmt.Errorf("%s: %v is not between 0 and 1", name, p))
		}
	}
	if c := s.Rules.SchemaStatus; c != 0 && c != 200 && c != 400 {
		errs = append(errs, fmt.Errorf("rules.schema_status: %d is neither 200 nor 400", c))
	}
	oneOf("rules.mixed_undo", s.Rules.MixedUndo, "", "Item", "ItemUndo", "both")
	oneOf("rules.alert_place", s.Rules.AlertPlace, "", "attribute", "element", "desc", "none")
	if s.Rules.ListCode != "" && !listCode.MatchString(s.Rules.ListCode) {
		errs = append(errs, fmt.Errorf("rules.list_code: %q is not G and three digits", s.Rules.ListCode))
	}
	oneOf("limit.mode", s.Limit.Mode, "", "code", "429")
	oneOf("maintenance.mode", s.Maintenance.Mode, "", "503", "error")
	share("latency.tail_p", s.Latency.TailP)
	share("bulk.miss_p", s.Bulk.MissP)
	share("auto_stock.unknown_p", s.AutoStock.UnknownP)
	if n := s.Quirks.Reasons; n < 0 || n > 20 {
		errs = append(errs, fmt.Errorf("quirks.reasons: %d is not 0 to 20", n))
	}
	for i, r := range s.Faults {
		if err := r.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("faults[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// listCode is never written.
var listCode = regexp.MustCompile(`^G[0-9]{3}$`)

// withDefaults fills what zero means.
func (s Settings) withDefaults() Settings {
	def(&s.Rules.SchemaStatus, 200)
	def(&s.Rules.RepeatCode, codeInactive)
	def(&s.Rules.ForeignRepeatCode, codePropertySet)
	def(&s.Rules.VerifyInactiveCode, codeSuccess)
	def(&s.Rules.UndoWindow, Duration(240*time.Hour))
	def(&s.Rules.AlertPlace, "attribute")
	def(&s.Login.LockAfter, 3)
	def(&s.Login.PasswordLife, Duration(90*24*time.Hour))
	def(&s.Login.PasswordWarn, Duration(14*24*time.Hour))
	def(&s.Login.PasswordOverlap, Duration(7*24*time.Hour))
	def(&s.Limit.Window, Duration(time.Second))
	def(&s.Limit.BulkWindow, Duration(time.Minute))
	def(&s.Bulk.Retention, Duration(24*time.Hour))
	return s
}

// clone shares nothing that anybody writes to.
func (s Settings) clone() Settings {
	s.Faults = slices.Clone(s.Faults)
	s.Maintenance.Windows = slices.Clone(s.Maintenance.Windows)
	return s
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// at says whether t lies in an announced window, and when that ends.
func (m Maintenance) at(t time.Time) (end time.Time, in bool) {
	for _, w := range m.Windows {
		if !t.Before(w.From) && t.Before(w.To) {
			return w.To, true
		}
	}
	return time.Time{}, false
}
