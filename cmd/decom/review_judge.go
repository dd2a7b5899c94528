package main

import (
	"fmt"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// The states that a person may state of a pack.
const (
	asInactive    = "inactive"
	asActive      = "active"
	asQuarantined = "quarantined"
)

// resolution is what a person's statement becomes on the ledger, or why it must not.
// inactiveAs is how the pack is inactive; 0 = as the attempt that put it aside wanted.
func (c *reviewCase) resolution(as string, inactiveAs scan.Op) (ledger.FactPack, error) {
	if c.State.Phase != ledger.Parked {
		return ledger.FactPack{}, spokenf("la boîte n'attend personne : elle est %s", "the pack does not wait for a person: it is %s", c.State.Phase)
	}
	if inactiveAs != 0 && as != asInactive {
		return ledger.FactPack{}, spokenUsagef("--op ne va qu'avec --as %s", "--op goes with --as %s only", asInactive)
	}
	switch as {
	case asActive:
		return ledger.FactPack{To: ledger.Free}, nil
	case asQuarantined:
		return ledger.FactPack{To: ledger.Parked}, nil
	case asInactive:
	default:
		return ledger.FactPack{}, spokenUsagef("--as %q : donner %s, %s ou %s", "--as %q: must be %s, %s or %s", as, asInactive, asActive, asQuarantined)
	}
	if c.Answer.Result == scan.Alert && c.Answer.Reason == scan.AlreadyInactive {
		// It would be undone as ours, which is a promise of protocol.md section 1.
		return ledger.FactPack{}, spokenf("le NMVS a dit que d'autres l'ont désactivée (alerte %s) : elle ne peut être dite nôtre ; --as %s la laisse de côté", "NMVS said that others made it inactive (alert %s): it cannot be stated as ours; --as %s leaves it put aside", c.Answer.AlertID, asQuarantined)
	}
	op := inactiveAs
	if op == 0 {
		if op = c.State.Op; op.IsUndo() {
			op = op.Undoes()
		}
	}
	switch {
	case op == 0:
		return ledger.FactPack{}, spokenUsagef("le registre ne dit pas comment elle est devenue inactive : donner --op supply, destroy, ...", "the ledger does not tell how it became inactive: give --op supply, destroy, ...")
	case op.IsUndo() || op.IsRead():
		return ledger.FactPack{}, spokenUsagef("--op %s ne désactive aucune boîte", "--op %s makes no pack inactive", op)
	}
	return ledger.FactPack{To: ledger.Inactive, Op: op}, nil
}

// retry is what lets a new scan open the pack again, or why it must not. Only a pack that
// NMVS showed ACTIVE is sent again (protocol.md section 5, the one resend rule);
// seenActive is a person's word for it where the ledger has none.
func (c *reviewCase) retry(seenActive bool) (ledger.FactPack, error) {
	switch {
	case c.State.Phase != ledger.Parked:
		return ledger.FactPack{}, spokenf("la boîte n'attend personne : elle est %s", "the pack does not wait for a person: it is %s", c.State.Phase)
	case c.NMVSState == nmvs.StateInactive || c.Answer.Reason == scan.AlreadyInactive:
		return ledger.FactPack{}, fmt.Errorf("NMVS said last that the pack is INACTIVE: sending again would raise an alert. " +
			"If NMVS shows it active now, state that: decom review resolve --as active")
	case c.NMVSState != nmvs.StateActive && !seenActive:
		return ledger.FactPack{}, spokenf("rien au registre ne dit que le NMVS montre la boîte active : la vérifier au répertoire, puis donner --seen-active", "nothing on the ledger says that NMVS shows the pack active: verify it with the repository, then give --seen-active")
	}
	return ledger.FactPack{To: ledger.Free}, nil
}

// advice lists what a person may do with the pack, in words.
func (c *reviewCase) advice() []scan.Text {
	if c.State.Phase != ledger.Parked {
		return []scan.Text{{FR: "Rien à faire : la boîte n'attend personne.", EN: "Nothing to do: the pack waits for nobody."}}
	}
	var list []scan.Text
	if _, err := c.retry(false); err == nil {
		list = append(list, scan.Text{
			FR: "retry : le répertoire l'a vue active ; un nouveau scan l'enverra de nouveau.",
			EN: "retry: the repository showed it active; a new scan sends it again."})
	} else if _, err := c.retry(true); err == nil {
		list = append(list, scan.Text{
			FR: "retry --seen-active : seulement si quelqu'un l'a vue active dans le répertoire.",
			EN: "retry --seen-active: only if somebody has seen it active in the repository."})
	}
	if c.Answer.Reason == scan.NeverExecuted {
		list = append(list, scan.Text{
			FR: "Attention : ce lot a été accepté et peut encore être exécuté.",
			EN: "Careful: this bulk was accepted and may still be executed."})
	}
	if c.Answer.Reason != scan.AlreadyInactive {
		list = append(list, scan.Text{
			FR: "resolve --as inactive : elle est inactive, et c'est nous.",
			EN: "resolve --as inactive: it is inactive, and it was us."})
	}
	return append(list, scan.Text{
		FR: "resolve --as active : le répertoire la montre active.",
		EN: "resolve --as active: the repository shows it active."}, scan.Text{
		FR: "resolve --as quarantined : elle reste de côté pour de bon.",
		EN: "resolve --as quarantined: it stays put aside for good."})
}
