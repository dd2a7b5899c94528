package httpdoor

import (
	"context"
	"errors"
	"net/http"

	"decom/worker/scan"
)

// ErrNotAPack: code and serial name no pack.
var ErrNotAPack = errors.New("no pack has such a name")

// Pack is where a pack stands for the account of a site. It holds no serial: who asks
// has it.
type Pack struct {
	Site    string      `json:"site"`
	Account string      `json:"account"`
	K       scan.PackID `json:"k"`                 // the pack's key, as decom pack shows it
	Known   bool        `json:"known"`             // false: never scanned for this account
	Phase   string      `json:"phase,omitempty"`   // free, open, due, inactive, parked
	Op      string      `json:"op,omitempty"`      // the operation wanted, or how it became inactive
	NMVSAt  string      `json:"nmvs_at,omitempty"` // NMVS's time of the change that made it inactive by us
	Message scan.Text   `json:"message"`
}

// pack is GET /v1/packs/{code}/{serial}.
func (d *Door) pack(w http.ResponseWriter, r *http.Request, c caller) *Problem {
	leave, ok := place(c.pace.posts)
	if !ok {
		return tooMany.problem(r, "")
	}
	defer leave()
	if d.deps.Pack == nil {
		return noPacks.problem(r, "")
	}
	code, serial := r.PathValue("code"), r.PathValue("serial")
	if code == "" {
		code, serial = r.URL.Query().Get("code"), r.URL.Query().Get("serial")
	}
	if wait, err := c.pace.take(r.Context(), d.cfg.Rate, 1); err != nil {
		p := tooFast.problem(r, "")
		p.retry = wait
		return p
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*d.cfg.Patience)
	defer cancel()
	pack, err := d.deps.Pack(ctx, c.who.Site, code, serial)
	switch {
	case errors.Is(err, ErrNotAPack):
		return badPack.problem(r, "")
	case err != nil:
		d.deps.Log.Warn("HTTP door: a pack's state cannot be read", "site", c.who.Site, "err", err)
		return noAnswer.problem(r, "")
	}
	reply(w, http.StatusOK, pack)
	return nil
}
