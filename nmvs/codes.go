package nmvs

import (
	"strings"

	"decom/worker/scan"
)

// codeRow is one row of the code table: what Classify and Explain share.
type codeRow struct {
	code    string // without "NMVS_"
	class   Class
	reason  scan.Reason
	alert   Alert
	perPack bool // summary of a bulk: its packs carry their own codes
	fr, en  string
	tip     tip // empty: the class's advice
}

// tip is advice in both languages.
type tip struct{ fr, en string }

// CodeInfo explains one return code, notification or state reason to people.
type CodeInfo struct {
	Code   string
	Kind   string // "return code", "notification", "state reason"
	Class  Class  // of return codes, as the answer to a change
	Reason scan.Reason
	Alert  Alert
	Known  bool      // false: explained by its prefix only
	Text   scan.Text // what it means
	Advice scan.Text // what to do
}

// What a [CodeInfo] explains.
const (
	KindReturnCode   = "return code"
	KindNotification = "notification"
	KindStateReason  = "state reason"
)

// codeIndex is built once and never written again.
var codeIndex = func() map[string]*codeRow {
	m := make(map[string]*codeRow, len(codeTable))
	for i := range codeTable {
		m[prefix+codeTable[i].code] = &codeTable[i]
	}
	return m
}()

func lookupCode(code string) (*codeRow, bool) {
	r, ok := codeIndex[code]
	return r, ok
}

// Codes returns every code, notification and state reason that is known, in
// the order of the tables.
func Codes() []CodeInfo {
	all := make([]CodeInfo, 0, len(codeTable)+len(noticeTable)+len(reasonTable))
	for i := range codeTable {
		all = append(all, codeTable[i].info())
	}
	for _, n := range noticeTable {
		all = append(all, n.info(KindNotification))
	}
	for _, r := range reasonTable {
		all = append(all, r.info(KindStateReason))
	}
	return all
}

func (r *codeRow) info() CodeInfo {
	t := r.tip
	if t == (tip{}) {
		t = advice(r.class, r.alert)
	}
	return CodeInfo{Code: prefix + r.code, Kind: KindReturnCode, Class: r.class, Reason: r.reason, Alert: r.alert,
		Known: true, Text: scan.Text{FR: r.fr, EN: r.en}, Advice: scan.Text{FR: t.fr, EN: t.en}}
}

// Explain explains a return code (with or without "NMVS_"), a notification or a
// state reason. What is not known is explained by its prefix; ok is false then.
func Explain(code string) (info CodeInfo, ok bool) {
	name := strings.ToUpper(strings.TrimSpace(code))
	for _, full := range [...]string{name, prefix + name} {
		if r, ok := lookupCode(full); ok {
			return r.info(), true
		}
		for _, n := range noticeTable {
			if n.code == full {
				return n.info(KindNotification), true
			}
		}
	}
	for _, r := range reasonTable {
		if r.code == name {
			return r.info(KindStateReason), true
		}
	}
	return explainByPrefix(name), false
}

func explainByPrefix(name string) CodeInfo {
	if !strings.HasPrefix(name, prefix) && looksLikeCode(name) {
		name = prefix + name
	}
	v := byPrefix(name)
	t := advice(v.Class, v.Alert)
	text := scan.Text{FR: "Code inconnu de ce logiciel.", EN: "A code this program does not know."}
	for _, p := range familyTable {
		if strings.HasPrefix(name, prefix+p.code) {
			text = scan.Text{FR: "Code inconnu de ce logiciel. " + p.fr, EN: "A code this program does not know. " + p.en}
			break
		}
	}
	return CodeInfo{Code: name, Kind: KindReturnCode, Class: v.Class, Reason: v.Reason, Alert: v.Alert,
		Text: text, Advice: scan.Text{FR: t.fr, EN: t.en}}
}

// looksLikeCode says whether a name without "NMVS_" is a return code's.
func looksLikeCode(name string) bool {
	family, _, ok := strings.Cut(name, "_")
	switch family {
	case "FE", "FI", "NC", "TE", "TI", "WF":
		return ok
	}
	return false
}

// wordRow is a row that has no class.
type wordRow struct {
	code string
	fr   string
	en   string
	tip  tip
}

func (r wordRow) info(kind string) CodeInfo {
	return CodeInfo{Code: r.code, Kind: kind, Known: true, Text: scan.Text{FR: r.fr, EN: r.en},
		Advice: scan.Text{FR: r.tip.fr, EN: r.tip.en}}
}

// advice is what to do about a class, for the codes that need nothing special.
func advice(c Class, a Alert) tip {
	switch c {
	case Success:
		return tip{"Rien à faire.", "Nothing to do."}
	case Repeat:
		return tip{"Rien à faire : l'opération avait déjà été faite par ce compte.", "Nothing to do: this account had done it before."}
	case Foreign:
		return tip{"Isoler la boîte ; ne pas la délivrer. Un autre que nous l'a désactivée, ou c'est une falsification : prévenir le pharmacien.",
			"Put the pack aside; do not supply it. Somebody else decommissioned it, or it is a falsification: tell the pharmacist."}
	case Data:
		if a == AlertNo {
			return tip{"Mettre la boîte de côté ; comparer l'étiquette avec le code lu.", "Put the pack aside; compare the label with what was read."}
		}
		return tip{"Mettre la boîte en quarantaine, ne pas la relire plusieurs fois. Vérifier le lecteur, puis contacter le fabricant.",
			"Quarantine the pack, do not scan it again and again. Check the scanner, then contact the manufacturer."}
	case Rule:
		return tip{"Ne pas délivrer cette boîte ; rien n'a été modifié.", "Do not supply this pack; nothing was changed."}
	case UnknownProduct:
		return tip{"Vérifier que le produit est sérialisé ; sinon attendre que le fabricant le déclare.",
			"Check that the product is in scope; else wait until its maker registers it."}
	case UndoMismatch:
		return tip{"Vérifier la boîte : si elle est active, il n'y a rien à annuler.", "Verify the pack: if it is active there is nothing to undo."}
	case NotReady:
		return tip{"Attendre : le résultat est redemandé automatiquement.", "Wait: the result is asked for again by itself."}
	case UsedID, InDoubt:
		return tip{"Ne pas renvoyer à la main : le logiciel attend, vérifie, puis décide.",
			"Do not send again by hand: the program waits, verifies, then decides."}
	case TooFast, Busy:
		return tip{"Rien à faire : le logiciel ralentit et recommence plus tard.", "Nothing to do: the program slows down and tries later."}
	case Format:
		return tip{"Signaler au support : la demande n'a pas été comprise ; rien n'a été modifié.",
			"Report to support: the request was not understood; nothing was changed."}
	case Setup:
		return tip{"Vérifier l'adresse du service et la version d'interface dans la configuration.",
			"Check the service's address and the interface version in the configuration."}
	case Login:
		return tip{"Le compte est arrêté pour ne pas être bloqué. Vérifier identifiant, mot de passe et certificat, puis relancer à la main.",
			"The account is stopped so that it does not get locked. Check login, password and certificate, then resume by hand."}
	}
	return tip{"Rien n'a été envoyé ; le logiciel recommencera.", "Nothing was sent; the program will try again."}
}
