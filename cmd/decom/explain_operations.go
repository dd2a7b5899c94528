package main

import (
	"fmt"
	"strings"

	"decom/nmvs"
	"decom/worker/scan"
)

// kindOperation is the kind of an explanation of NMVS's operation numbers.
const kindOperation = "operation"

// operationDoes says what an operation of a scan does, by its row in the table of nmvs.
var operationDoes = map[scan.Op]scan.Text{
	scan.Verify:         {FR: "interroge l'état de la boîte et ne change rien", EN: "asks for the pack's state and changes nothing"},
	scan.Supply:         {FR: "délivre la boîte", EN: "supplies the pack"},
	scan.Destroy:        {FR: "déclare la boîte détruite", EN: "declares the pack destroyed"},
	scan.Export:         {FR: "déclare la boîte sortie de l'Union européenne", EN: "declares the pack exported from the EU"},
	scan.Sample:         {FR: "déclare la boîte prélevée par une autorité", EN: "declares the pack a sample of an authority"},
	scan.FreeSample:     {FR: "déclare la boîte échantillon gratuit", EN: "declares the pack a free sample"},
	scan.Lock:           {FR: "bloque la boîte pour un temps", EN: "locks the pack for a time"},
	scan.Stolen:         {FR: "déclare la boîte volée", EN: "declares the pack stolen"},
	scan.UndoSupply:     {FR: "annule la délivrance", EN: "undoes the supply"},
	scan.UndoExport:     {FR: "annule l'exportation", EN: "undoes the export"},
	scan.UndoSample:     {FR: "annule le prélèvement", EN: "undoes the sample"},
	scan.UndoFreeSample: {FR: "annule l'échantillon gratuit", EN: "undoes the free sample"},
	scan.UndoLock:       {FR: "lève le blocage", EN: "undoes the lock"},
}

// operationElse says it of those that no scan asks for (nmvs-interface.md 1.8).
var operationElse = map[string]scan.Text{
	"G131": {FR: "annulait la destruction", EN: "undid the destruction"},
	"G137": {FR: "annulait la destruction", EN: "undid the destruction"},
	"G181": {FR: "annulait la déclaration de vol", EN: "undid the declaration of theft"},
	"G187": {FR: "annulait la déclaration de vol", EN: "undid the declaration of theft"},
	nmvs.CodeBulkResult: {FR: "va chercher le résultat d'un lot d'un seul produit (tout Gxx5 ou Gxx7)",
		EN: "fetches the result of a bulk of one product (any Gxx5 or Gxx7)"},
	nmvs.CodeMixedSubmit: {FR: "envoie jusqu'à 100 000 boîtes, chacune avec son opération et son produit",
		EN: "submits up to 100,000 packs, each with its own operation and product"},
	nmvs.CodeMixedResult: {FR: "va chercher le résultat d'un G195", EN: "fetches the result of a G195"},
	nmvs.CodePassword:    {FR: "change le mot de passe du compte", EN: "changes the account's password"},
	nmvs.CodeTermsLoad: {FR: "lit les conditions d'utilisation : l'appel sans effet par lequel decom éprouve le compte",
		EN: "loads the terms of use: the harmless call by which decom tries an account"},
	nmvs.CodeTermsAccept: {FR: "accepte les conditions d'utilisation", EN: "accepts the terms of use"},
}

// farOperations are known by their number only; decom never calls them.
var farOperations = []explanation{
	{Code: "G101", Meaning: scan.Text{
		FR: "Numéro d'une liste de codes française, « récupérer » sans plus ; peut-être la liste des lots en attente, ou celle des produits.",
		EN: "A number of a French code list, labelled \"retrieve\" and no more; perhaps the list of pending bulks, or of products."},
		Advice: scan.Text{FR: "Demander à France MVO ce qu'elle fait ; decom ne l'appelle que si pending_list_code la nomme.",
			EN: "Ask France MVO what it does; decom calls it only if pending_list_code names it."}},
	{Code: "G615", Meaning: scan.Text{
		FR: "Opération du service PKI (ports 8444 et 8458) : télécharge le certificat client contre un TAN.",
		EN: "Operation of the PKI service (ports 8444 and 8458): downloads the client certificate for a TAN."},
		Advice: scan.Text{FR: "decom ne l'appelle pas : télécharger le certificat sur le portail, le donner par « certificate ».",
			EN: "decom does not call it: download the certificate from the portal and give it as \"certificate\"."}},
}

// operationMeanings explains every operation number of NMVS.
func operationMeanings() []explanation {
	var all []explanation
	for _, o := range nmvs.Operations() {
		if o.Kind != nmvs.KindPing {
			all = append(all, explanation{Code: o.Code, Kind: kindOperation, Known: true, Meaning: operationMeaning(o), Advice: operationAdvice(o)})
		}
	}
	for _, e := range farOperations {
		e.Kind, e.Known = kindOperation, true
		all = append(all, e)
	}
	return all
}

// operationMeaning tells an operation's name, service, effect, and what takes it back.
func operationMeaning(o nmvs.Operation) scan.Text {
	does, ofScan := operationDoes[o.Op]
	if !ofScan {
		does = operationElse[o.Code]
	}
	m := scan.Text{FR: fmt.Sprintf("%s, service %s : %s", o.Name, o.Service, does.FR), EN: fmt.Sprintf("%s, %s service: %s", o.Name, o.Service, does.EN)}
	add := func(fr, en string, args ...any) {
		m.FR, m.EN = m.FR+fmt.Sprintf(fr, args...), m.EN+fmt.Sprintf(en, args...)
	}
	switch o.Kind {
	case nmvs.KindManual:
		add(", saisie à la main (sans lot ni péremption)", ", typed by hand (without batch and expiry)")
	case nmvs.KindBulk, nmvs.KindBulkUndo:
		add(", pour 1 à 100 000 boîtes d'un lot d'un produit", ", for 1 to 100,000 packs of one product and batch")
	}
	add(".", ".")
	switch {
	case o.Reason == "":
	case o.IsUndo():
		add(" Ensuite : ACTIVE, si rien d'autre ne l'empêche.", " Afterwards: ACTIVE, if nothing else holds the pack.")
	default:
		add(" Ensuite : INACTIVE / %s.", " Afterwards: INACTIVE / %s.", o.Reason)
	}
	undo, known := nmvs.Lookup(o.UndoneBy)
	switch {
	case o.V2Only:
		add(" N'existe que dans l'interface V2.", " Exists in interface V2 only.")
	case o.IsUndo() || o.Reason == "":
	case !known || undo.V2Only:
		add(" Ne s'annule pas.", " Cannot be undone.")
	default:
		add(" S'annule par %s, dans les 10 jours, par le même utilisateur.", " Undone by %s, within 10 days, by the same user.", undo.Code)
	}
	return m
}

// operationAdvice says how the operation is asked of decom.
func operationAdvice(o nmvs.Operation) scan.Text {
	switch {
	case o.V2Only:
		return scan.Text{FR: "decom ne l'appelle jamais.", EN: "decom never calls it."}
	case o.Op == scan.Verify && o.Service == nmvs.Bulk:
		return scan.Text{FR: "decom ne l'appelle pas : il vérifie les boîtes une à une, par G110.", EN: "decom does not call it: it verifies packs one by one, with G110."}
	case o.Op != 0 && o.Kind == nmvs.KindManual:
		return scan.Text{FR: fmt.Sprintf("Dans decom : une lecture avec op %s et entry manual.", o.Op), EN: fmt.Sprintf("In decom: a scan with op %s and entry manual.", o.Op)}
	case o.Op != 0:
		return scan.Text{FR: fmt.Sprintf("Dans decom : une lecture avec op %s.", o.Op), EN: fmt.Sprintf("In decom: a scan with op %s.", o.Op)}
	case o.Service == nmvs.Support && o.Code != nmvs.CodeTermsLoad:
		return scan.Text{FR: "decom ne l'appelle pas : une personne le fait sur le portail.", EN: "decom does not call it: a person does that in the portal."}
	}
	return scan.Text{FR: "Rien à faire : decom l'appelle de lui-même.", EN: "Nothing to do: decom calls it by itself."}
}

// operationWord makes the number of what messages and traces call an operation by: its
// name (G120Dispense), its SOAP action, its request or reply.
func operationWord(word string) string {
	w := strings.TrimPrefix(strings.ToLower(word), "urn:")
	for _, o := range nmvs.Operations() {
		for _, known := range []string{o.Name, o.Code + "Request", o.Code + "Response", "NMVS_" + o.Code} {
			if o.Kind != nmvs.KindPing && strings.EqualFold(known, w) {
				return o.Code
			}
		}
	}
	return word
}
