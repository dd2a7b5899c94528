package main

import "decom/worker/scan"

// kindAlert is the kind of an explanation of [alertTexts].
const kindAlert = "kind of alert"

const (
	alertCheckFR, alertCheckEN = "Mettre la boîte en quarantaine, écarter une cause technique (lecteur, clavier, séparateur), prévenir le pharmacien.",
		"Put the pack in quarantine, exclude a technical cause (scanner, keyboard, separator), tell the pharmacist."
)

// alertTexts explains the kinds of alerts that are named in public (nmvs-interface.md, the
// table of alert kinds; causes: domain.md section 4).
var alertTexts = []explanation{
	{Code: "A1", Meaning: scan.Text{FR: "Alerte de faible niveau : produit inconnu du répertoire (PC_01).", EN: "Low level alert: the repository does not know the product (PC_01)."},
		Advice: scan.Text{FR: "Vérifier que le médicament est soumis à la sérialisation et que le lecteur rend le code tel quel.", EN: "Check that the medicine is in scope and that the scanner gives the code as it is."}},
	{Code: "A2", Meaning: scan.Text{FR: "Alerte : lot inconnu du répertoire (LOT_03).", EN: "Alert: the repository does not know the batch (LOT_03)."},
		Advice: scan.Text{FR: alertCheckFR, EN: alertCheckEN}},
	{Code: "A3", Meaning: scan.Text{FR: "Alerte : numéro de série inconnu du répertoire (PC_02).", EN: "Alert: the repository does not know the serial (PC_02)."},
		Advice: scan.Text{FR: alertCheckFR, EN: alertCheckEN}},
	{Code: "A5", Meaning: scan.Text{FR: "Alerte de faible niveau : annulation demandée d'un autre lieu que la désactivation.", EN: "Low level alert: an undo from another place than the decommissioning."},
		Advice: scan.Text{FR: "Faire annuler par la pharmacie qui a désactivé la boîte.", EN: "Have the pharmacy that decommissioned the pack undo it."}},
	{Code: "A7", Meaning: scan.Text{FR: "Alerte : la boîte a déjà l'état demandé (PCK_19, surtout entre pays).", EN: "Alert: the pack is already in the wanted state (PCK_19, mostly between countries)."},
		Advice: scan.Text{FR: "Comparer avec « decom pack » : si ce n'était pas nous, quarantaine et pharmacien.", EN: "Compare with \"decom pack\": if it was not us, quarantine and pharmacist."}},
	{Code: "A24", Meaning: scan.Text{FR: "Alerte : opération sur une boîte inactive (PCK_22, PCK_06, PCK_27).", EN: "Alert: a change of a pack that is inactive (PCK_22, PCK_06, PCK_27)."},
		Advice: scan.Text{FR: "Comparer avec « decom pack » : si ce n'était pas nous, quarantaine et pharmacien.", EN: "Compare with \"decom pack\": if it was not us, quarantine and pharmacist."}},
	{Code: "A52", Meaning: scan.Text{FR: "Alerte : la date de péremption diffère de celle du répertoire (LOT_12).", EN: "Alert: the expiry differs from the repository's (LOT_12)."},
		Advice: scan.Text{FR: alertCheckFR, EN: alertCheckEN}},
	{Code: "A68", Meaning: scan.Text{FR: "Alerte : le lot et le numéro de série ne vont pas ensemble (LOT_13).", EN: "Alert: batch and serial do not belong together (LOT_13)."},
		Advice: scan.Text{FR: alertCheckFR, EN: alertCheckEN}},
}
