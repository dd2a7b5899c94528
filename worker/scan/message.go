package scan

// ReasonInfo is one row of the closed set of reasons: what it means and what to
// do, for outcomes and `decom explain`.
type ReasonInfo struct {
	Result Result
	Reason Reason
	Text   Text // what happened, one sentence
	Advice Text // what to do, one sentence
}

// The reasons that code branches on or writes. The whole set, with texts, is
// [Reasons].
const (
	NoReason Reason = ""

	Confirmed   Reason = "confirmed"    // done: a verify or NMVS's own repeat answer proved an earlier attempt
	SuspectCopy Reason = "suspect_copy" // duplicate: two boxes with one serial look like this

	Superseded     Reason = "superseded"      // refused: older than what is known
	Order          Reason = "order"           // refused: clocks are no proof
	ParkedPack     Reason = "parked"          // refused: the pack waits for a person
	OtherAccount   Reason = "other_account"   // refused: another account holds it
	NotOurs        Reason = "not_ours"        // refused: undo of a pack we never changed
	TooLate        Reason = "too_late"        // refused: undo after ten days
	NoTime         Reason = "no_time"         // refused: undo without the device's clock
	ExpiredPack    Reason = "expired"         // refused
	InactivePack   Reason = "inactive"        // refused: inactive by us for another reason
	UnknownProduct Reason = "unknown_product" // refused
	Recalled       Reason = "recalled"        // refused
	Withdrawn      Reason = "withdrawn"       // refused
	NotEntitled    Reason = "not_entitled"    // refused
	Locked         Reason = "locked"          // refused
	NotDispensable Reason = "not_dispensable" // refused
	WrongRef       Reason = "wrong_ref"       // refused: NMVS does not know the change that the undo cites
	Other          Reason = "other"           // refused by a code without a word of its own
	BatchWithheld  Reason = "batch_withheld"  // refused: its batch is withheld, and too many scans wait already
	DeviceWithheld Reason = "device_withheld" // refused: its device is withheld, and too many scans wait already

	AlreadyInactive Reason = "already_inactive" // alert: not by us
	UnknownSerial   Reason = "unknown_serial"   // alert
	UnknownBatch    Reason = "unknown_batch"    // alert
	WrongBatch      Reason = "wrong_batch"      // alert
	WrongExpiry     Reason = "wrong_expiry"     // alert
	UndoMismatch    Reason = "undo_mismatch"    // alert: NMVS holds another state than we do
	UnknownPack     Reason = "unknown_pack"     // alert: a verify answered UNKNOWN

	MalformedScan Reason = "malformed" // rejected: not an event
	Conflict      Reason = "conflict"  // rejected: other batch or expiry than recorded

	NoEvidence    Reason = "no_evidence"    // unresolved: inactive, but nothing proves that it was us
	DoubtfulTwice Reason = "doubtful_twice" // unresolved: two sends without an answer
	NeverExecuted Reason = "never_executed" // unresolved: an accepted bulk that did nothing so far
	UndoDoubtful  Reason = "undo_doubtful"  // unresolved
	NoAnswer      Reason = "no_answer"      // unresolved
	Format        Reason = "format"         // unresolved: NMVS cannot read our request
	LedgerLoss    Reason = "ledger_loss"    // unresolved: parked after lost ledger records
	ByPerson      Reason = "by_person"      // unresolved: parked by a person
)

// Reasons returns the closed set, in the order of contract.md section 5.
func Reasons() []ReasonInfo { return append([]ReasonInfo(nil), reasons...) }

// Message returns the sentence for an outcome; a reason without a text of its
// own (never written by this program) gets its result's.
func Message(op Op, result Result, reason Reason) Text {
	if result == Done && reason == NoReason {
		if t, ok := doneTexts[op]; ok {
			return t
		}
		if op.IsUndo() {
			return Text{"Désactivation annulée, boîte de nouveau active.", "Decommissioning undone, the pack is active again."}
		}
		return Text{"Boîte désactivée.", "Pack decommissioned."}
	}
	if result == Done && op == Verify {
		return doneTexts[Verify]
	}
	fallback := Text{}
	for i := range reasons {
		r := &reasons[i]
		if r.Result != result {
			continue
		}
		if r.Reason == reason {
			return Text{r.Text.FR + " " + r.Advice.FR, r.Text.EN + " " + r.Advice.EN}
		}
		if fallback.EN == "" {
			fallback = r.Text
		}
	}
	return fallback
}

var doneTexts = map[Op]Text{
	Verify:     {"Boîte vérifiée, rien n'a été changé.", "Pack verified, nothing was changed."},
	Destroy:    {"Boîte désactivée : destruction.", "Pack decommissioned as destroyed."},
	Export:     {"Boîte désactivée : export hors UE.", "Pack decommissioned as exported."},
	Sample:     {"Boîte désactivée : échantillon pour les autorités.", "Pack decommissioned as a sample."},
	FreeSample: {"Boîte désactivée : échantillon gratuit.", "Pack decommissioned as a free sample."},
	Lock:       {"Boîte bloquée.", "Pack locked."},
	Stolen:     {"Boîte déclarée volée.", "Pack reported stolen."},
}

const (
	askFR, askEN               = "Appelez un pharmacien.", "Call a pharmacist."
	quarantineFR, quarantineEN = "Mettez la boîte en quarantaine et appelez un pharmacien.", "Put the pack in quarantine and call a pharmacist."
	rescanFR, rescanEN         = "Scannez de nouveau le code Data Matrix de la boîte.", "Scan the pack's Data Matrix again."
	setupFR, setupEN           = "Faites régler le lecteur (identifiant AIM, clavier).", "Have the scanner's settings checked (AIM identifier, keyboard)."
	noneFR, noneEN             = "Rien à faire.", "Nothing to do."
)

func rejected(reason Reason, fr, en, adviceFR, adviceEN string) ReasonInfo {
	return ReasonInfo{Rejected, reason, Text{fr, en}, Text{adviceFR, adviceEN}}
}

var reasons = []ReasonInfo{
	{Done, NoReason, Text{"L'opération est faite.", "The operation is done."}, Text{noneFR, noneEN}},
	{Done, Confirmed, Text{"Boîte traitée : une vérification a confirmé un premier envoi resté sans réponse.", "Done: a check confirmed an earlier attempt that got no answer."}, Text{noneFR, noneEN}},

	{Duplicate, NoReason, Text{"Boîte déjà traitée par nous ; rien n'a été envoyé.", "Already done by us; nothing was sent."}, Text{noneFR, noneEN}},
	{Duplicate, SuspectCopy, Text{"Boîte déjà traitée par nous, scannée de nouveau ailleurs ou plus tard : deux boîtes portent peut-être le même numéro.", "Already done by us, scanned again elsewhere or later: two packs may carry one serial."}, Text{"Vérifiez qu'il s'agit bien de la même boîte ; sinon, quarantaine et pharmacien.", "Make sure that it is the same pack; if not, quarantine it and call a pharmacist."}},

	{Refused, Superseded, Text{"Scan plus ancien que ce qui est déjà connu de la boîte ; rien n'a été envoyé.", "This scan is older than what is known of the pack; nothing was sent."}, Text{noneFR, noneEN}},
	{Refused, Order, Text{"Deux appareils demandent l'inverse au même instant ; leurs horloges ne prouvent pas l'ordre.", "Two devices ask for opposite things at the same moment; their clocks prove no order."}, Text{"Scannez de nouveau pour dire ce qui vaut.", "Scan again to say which one counts."}},
	{Refused, ParkedPack, Text{"La boîte attend déjà la décision d'une personne.", "The pack already waits for a person."}, Text{askFR, askEN}},
	{Refused, OtherAccount, Text{"La boîte est tenue par un autre compte.", "Another account holds this pack."}, Text{"Voyez avec la pharmacie qui l'a traitée.", "Ask the pharmacy that handled it."}},
	{Refused, NotOurs, Text{"Annulation impossible : la boîte n'a pas été désactivée par nous.", "Cannot undo: the pack was not decommissioned by us."}, Text{askFR, askEN}},
	{Refused, TooLate, Text{"Annulation impossible : plus de dix jours après la désactivation.", "Cannot undo: more than ten days after the decommissioning."}, Text{"La boîte ne peut pas revenir en stock.", "The pack cannot go back to stock."}},
	{Refused, NoTime, Text{"Annulation impossible : l'appareil n'a pas donné l'heure du scan.", "Cannot undo: the device gave no time of the scan."}, Text{"Faites l'annulation à la main, ou faites envoyer « at » par l'appareil.", "Undo it by hand, or have the device send \"at\"."}},
	{Refused, ExpiredPack, Text{"Boîte périmée ; elle devient inactive d'elle-même.", "The pack is past its expiry; it becomes inactive by itself."}, Text{"Ne la délivrez pas.", "Do not supply it."}},
	{Refused, InactivePack, Text{"Boîte déjà désactivée par nous pour un autre motif.", "Already decommissioned by us for another reason."}, Text{askFR, askEN}},
	{Refused, UnknownProduct, Text{"Le répertoire ne connaît pas ce produit.", "The repository does not know this product."}, Text{"Vérifiez que le médicament est soumis à la sérialisation ; sinon, pharmacien.", "Check that the medicine is in scope; if it is, call a pharmacist."}},
	{Refused, Recalled, Text{"Lot rappelé.", "The batch is recalled."}, Text{"Ne la délivrez pas ; suivez le rappel.", "Do not supply it; follow the recall."}},
	{Refused, Withdrawn, Text{"Lot ou produit retiré du marché.", "The batch or product is withdrawn."}, Text{"Ne la délivrez pas.", "Do not supply it."}},
	{Refused, NotEntitled, Text{"Ce compte n'a pas le droit de faire cette opération.", "This account may not do that."}, Text{"Voyez les droits du compte avec France MVO.", "Check the account's rights with France MVO."}},
	{Refused, Locked, Text{"Boîte ou produit bloqué dans le répertoire.", "The pack or product is locked in the repository."}, Text{askFR, askEN}},
	{Refused, NotDispensable, Text{"Le répertoire dit que la boîte ne peut pas être délivrée.", "The repository says that the pack cannot be supplied."}, Text{askFR, askEN}},
	{Refused, WrongRef, Text{"Annulation impossible : le répertoire ne reconnaît pas la référence de la désactivation.", "Cannot undo: the repository does not know the reference of the decommissioning."}, Text{askFR, askEN}},
	{Refused, WrongExpiry, Text{"Le répertoire dit que la date de péremption n'est pas une date possible.", "The repository says that the expiry is no possible date."}, Text{askFR, askEN}},
	{Refused, BatchWithheld, Text{"Le lot est retenu, le plus souvent parce que le fabricant n'a pas chargé ses numéros de série ; rien n'a été envoyé.", "The batch is withheld, most often because its manufacturer did not upload the serials; nothing was sent."}, Text{"Mettez la boîte de côté ; scannez-la de nouveau quand le lot est libéré (decom batch ls).", "Put the pack aside; scan it again once the batch is free (decom batch ls)."}},
	{Refused, DeviceWithheld, Text{"Le lecteur est retenu, le plus souvent parce que ses alertes et rejets s'écartent de ceux des autres ; rien n'a été envoyé.", "The scanner is withheld, most often because its alerts and rejected scans depart from the others'; nothing was sent."}, Text{"Scannez la boîte avec un autre lecteur ; faites régler celui-ci (decom device calibrate).", "Scan the pack with another scanner; have this one's settings checked (decom device calibrate)."}},
	{Refused, Other, Text{"Le répertoire a refusé l'opération.", "The repository refused the operation."}, Text{"Voyez le code avec « decom explain CODE ».", "Look the code up with \"decom explain CODE\"."}},

	{Alert, AlreadyInactive, Text{"Boîte déjà inactive, pas par nous : falsification possible.", "Already inactive, not by us: potential falsification."}, Text{quarantineFR, quarantineEN}},
	{Alert, UnknownSerial, Text{"Numéro de série inconnu du répertoire : falsification possible.", "The repository does not know this serial: potential falsification."}, Text{quarantineFR, quarantineEN}},
	{Alert, UnknownBatch, Text{"Lot inconnu du répertoire : falsification possible.", "The repository does not know this batch: potential falsification."}, Text{quarantineFR, quarantineEN}},
	{Alert, WrongBatch, Text{"Le lot ne va pas avec ce numéro de série : falsification possible.", "Batch and serial do not belong together: potential falsification."}, Text{quarantineFR, quarantineEN}},
	{Alert, WrongExpiry, Text{"La date de péremption diffère de celle du répertoire : falsification possible.", "The expiry differs from the repository's: potential falsification."}, Text{quarantineFR, quarantineEN}},
	{Alert, UndoMismatch, Text{"Le répertoire ne connaît pas la désactivation que nous voulions annuler.", "The repository does not hold the change we wanted to undo."}, Text{quarantineFR, quarantineEN}},
	{Alert, UnknownPack, Text{"Le répertoire ne connaît pas cette boîte, ou n'a pas le droit d'en parler.", "The repository does not know this pack, or may not tell."}, Text{quarantineFR, quarantineEN}},

	rejected(MalformedScan, "Le message ou le code n'est pas lisible.", "The message or code cannot be read.", rescanFR, rescanEN),
	rejected(Conflict, "Lot ou péremption différents de ce qui est déjà connu pour cette boîte.", "Batch or expiry differ from what is known of this pack.", quarantineFR, quarantineEN),
	rejected("layout", "Code déformé par le clavier du poste, ou lu sans son identifiant.", "Mangled by the workstation's keyboard layout, or read without its identifier.", setupFR, setupEN),
	rejected("case", "Majuscules et minuscules inversées (verrouillage majuscule).", "Upper and lower case are swapped (Caps Lock).", "Ôtez le verrouillage majuscule et scannez de nouveau.", "Switch Caps Lock off and scan again."),
	rejected("gs_missing", "Il manque un séparateur : deux champs sont collés.", "A separator is missing: two fields are glued together.", setupFR, setupEN),
	rejected("check_digit", "La clé de contrôle du code produit est fausse.", "The product code's check digit is wrong.", rescanFR, rescanEN),
	rejected("not_a_pack", "Ce code n'est pas celui d'une boîte (carton, palette, dose unitaire, EAN).", "This code is not a pack's (case, pallet, dose unit, EAN).", "Scannez le Data Matrix de la boîte elle-même.", "Scan the Data Matrix of the pack itself."),
	rejected("not_serialised", "Boîte sans numéro de série : elle n'est pas sérialisée.", "No serial number: the pack is not serialised.", "Rien à désactiver si le lot date d'avant février 2019 ou est hors champ.", "Nothing to decommission if the batch is older than February 2019 or out of scope."),
	rejected("missing_field", "Il manque un champ : code produit, série, lot ou péremption.", "A field is missing: product code, serial, batch or expiry.", rescanFR, rescanEN),
	rejected("charset", "Un caractère interdit dans un code GS1.", "A character that no GS1 code may hold.", setupFR, setupEN),
	rejected("length", "Un champ est vide ou trop long.", "A field is empty or too long.", rescanFR, rescanEN),
	rejected("expiry", "La date de péremption n'existe pas.", "The expiry is no possible date.", rescanFR, rescanEN),
	rejected("combination", "Des champs qui ne vont pas ensemble.", "Fields that do not go together.", rescanFR, rescanEN),
	rejected("glued", "Un autre code est collé à la fin du lot ou du numéro de série.", "Another code is glued to the end of the batch or serial.", setupFR, setupEN),

	{Unresolved, NoEvidence, Text{"Sans réponse à notre envoi ; la boîte est inactive mais rien ne prouve que c'est par nous.", "Our call got no answer; the pack is inactive but nothing proves that it was us."}, Text{askFR, askEN}},
	{Unresolved, DoubtfulTwice, Text{"Deux envois sans réponse.", "Two calls without an answer."}, Text{askFR, askEN}},
	{Unresolved, NeverExecuted, Text{"Envoi accepté par le répertoire, sans résultat après le délai.", "Accepted by the repository, without a result in time."}, Text{askFR, askEN}},
	{Unresolved, UndoDoubtful, Text{"Annulation sans réponse, état inattendu.", "The undo got no answer and the state is not the expected one."}, Text{askFR, askEN}},
	{Unresolved, NoAnswer, Text{"Le sort de la boîte n'a pas pu être établi.", "The pack's fate could not be established."}, Text{askFR, askEN}},
	{Unresolved, Format, Text{"Le répertoire ne lit pas notre demande ; rien n'a été fait.", "The repository cannot read our request; nothing was done."}, Text{"Prévenez l'exploitant de decom.", "Tell whoever runs decom."}},
	{Unresolved, LedgerLoss, Text{"Mise de côté après une perte du registre.", "Put aside after lost ledger records."}, Text{askFR, askEN}},
	{Unresolved, ByPerson, Text{"Mise de côté par une personne.", "Put aside by a person."}, Text{askFR, askEN}},
}
