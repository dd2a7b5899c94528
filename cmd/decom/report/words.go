package report

import (
	"fmt"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// Words picks one of two sentences; cmd's language does.
type Words func(scan.Text) string

func (w Words) of(fr, en string) string { return w(scan.Text{FR: fr, EN: en}) }

var resultWords = map[scan.Result]scan.Text{
	scan.Done:       {FR: "faites", EN: "done"},
	scan.Duplicate:  {FR: "doublons", EN: "duplicates"},
	scan.Refused:    {FR: "refusées", EN: "refused"},
	scan.Alert:      {FR: "alertes", EN: "alerts"},
	scan.Rejected:   {FR: "rejetées", EN: "rejected"},
	scan.Unresolved: {FR: "non résolues", EN: "unresolved"},
}

var endWords = map[DayEnd]scan.Text{
	Calling:   {FR: "réponse attendue", EN: "answer awaited"},
	Submitted: {FR: "lot accepté, résultat attendu", EN: "bulk accepted, result awaited"},
	InDoubt:   {FR: "en doute, retenues", EN: "in doubt, held"},
	Due:       {FR: "à renvoyer", EN: "to be sent again"},
	Waiting:   {FR: "attendent une personne", EN: "waiting for a person"},
}

var actionWords = map[ledger.Kind]scan.Text{
	ledger.Review:      {FR: "décision", EN: "decision"},
	ledger.Park:        {FR: "mise de côté", EN: "put aside"},
	ledger.Halt:        {FR: "arrêt", EN: "halt"},
	ledger.Resume:      {FR: "reprise", EN: "resume"},
	ledger.Pause:       {FR: "pause", EN: "pause"},
	ledger.Tune:        {FR: "réglage des limites", EN: "limits tuned"},
	ledger.Continue:    {FR: "fin de pause ou de réglage", EN: "end of pause or tune"},
	ledger.VerifyFirst: {FR: "vérification avant chaque envoi", EN: "verify first"},
	ledger.VerifyEnd:   {FR: "fin de la vérification", EN: "end of verify first"},
}

var (
	frenchDays   = [...]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"}
	frenchMonths = [...]string{"", "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
)

// longDate is a date as people write it.
func longDate(w Words, t time.Time) string {
	n := fmt.Sprint(t.Day())
	if t.Day() == 1 {
		n = "1er"
	}
	return w.of(fmt.Sprintf("%s %s %s %d", frenchDays[t.Weekday()], n, frenchMonths[t.Month()], t.Year()), t.Format("Monday 2 January 2006"))
}
