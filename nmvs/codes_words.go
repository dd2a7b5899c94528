package nmvs

// noticeTable holds the header notifications. They are never errors.
var noticeTable = [...]wordRow{
	{NoticeOldPassword, "Un ancien mot de passe est utilisé ; il cessera de fonctionner dans quelques jours.",
		"An old password is in use; it stops working in some days.",
		tip{"Donner le nouveau mot de passe à tous les postes.", "Give the new password to every worker."}},
	{NoticePasswordExpires, "Le mot de passe expire dans quelques jours.", "The password expires in some days.",
		tip{"Changer le mot de passe maintenant.", "Change the password now."}},
	{NoticeTerms, "De nouvelles conditions d'utilisation attendent d'être acceptées.", "New terms wait to be accepted.",
		tip{"Une personne habilitée doit les lire et les accepter avant la date limite.",
			"An entitled person must read and accept them before the deadline."}},
}

// The notifications that are known.
const (
	NoticeOldPassword     = "NMVS_NOTIFY_AU_01"
	NoticePasswordExpires = "NMVS_NOTIFY_AU_02"
	NoticeTerms           = "NMVS_NOTIFY_PMS_01"
)

// reasonTable holds the reasons of state (nmvs-interface.md 1.11).
var reasonTable = [...]wordRow{
	{ReasonSupplied, "Boîte délivrée au public ou utilisée.", "The pack was supplied to the public, or used.", tipNoSupply},
	{ReasonDestroyed, "Boîte détruite.", "The pack was destroyed.", tipNoSupply},
	{ReasonExported, "Boîte sortie de l'Union européenne.", "The pack left the European Union.", tipNoSupply},
	{ReasonSample, "Échantillon pour les autorités.", "Sample for authorities.", tipNoSupply},
	{ReasonFreeSample, "Échantillon gratuit du fabricant.", "Free sample of the maker.", tipNoSupply},
	{ReasonLocked, "Boîte bloquée temporairement.", "The pack is held back for a time.", tipNoSupply},
	{ReasonStolen, "Boîte volée.", "The pack was stolen.",
		tip{"Isoler la boîte et prévenir le pharmacien tout de suite.", "Put the pack aside and tell the pharmacist at once."}},
	{"CHECKED_OUT", "Boîte prise pour être reconditionnée.", "The pack was taken for repackaging.", tipNoSupply},
	{"RECALLED", "Le lot est rappelé.", "The batch is recalled.",
		tip{"Appliquer la procédure de rappel.", "Follow the recall procedure."}},
	{"EXPIRED", "La date de péremption est passée.", "The expiry date has passed.", tipNoSupply},
	{"WITHDRAWN", "Le produit est retiré du marché.", "The product is withdrawn.",
		tip{"Appliquer la procédure de retrait.", "Follow the withdrawal procedure."}},
	{"UNKNOWN", "La raison n'est pas connue (fréquent pour une boîte d'un autre pays).",
		"The reason is not known (common for a pack of another country).", tipNoSupply},
}

var tipNoSupply = tip{"Ne pas délivrer cette boîte.", "Do not supply this pack."}

// familyTable explains code families by prefix, longest first.
var familyTable = [...]wordRow{
	{code: "NC_PMS_", fr: "Il appartient au portail ou au côté fabricant.", en: "It belongs to the web portal or the manufacturer side."},
	{code: "FE_PMS_", fr: "Il appartient au portail ou au côté fabricant.", en: "It belongs to the web portal or the manufacturer side."},
	{code: "FE_CFG_", fr: "Il appartient au portail ou au côté fabricant.", en: "It belongs to the web portal or the manufacturer side."},
	{code: "FE_FAQ_", fr: "Il appartient au portail ou au côté fabricant.", en: "It belongs to the web portal or the manufacturer side."},
	{code: "FE_SE_", fr: "Il appartient au portail ou au côté fabricant.", en: "It belongs to the web portal or the manufacturer side."},
	{code: "FE_FI_", fr: "Il appartient au portail ou au côté fabricant.", en: "It belongs to the web portal or the manufacturer side."},
	{code: "FE_AU_", fr: "Il concerne la connexion.", en: "It is about the login."},
	{code: "FE_PKI_", fr: "Il concerne le certificat.", en: "It is about the certificate."},
	{code: "FE_LOT_", fr: "Il concerne le lot de la boîte.", en: "It is about the pack's batch."},
	{code: "NC_PCK_", fr: "Il concerne l'état de la boîte.", en: "It is about the pack's state."},
	{code: "NC_PC_", fr: "Il concerne le produit ou le numéro de série.", en: "It is about the product or the serial."},
	{code: "NC_", fr: "La demande ne correspond pas aux données enregistrées ; rien n'a été modifié.", en: "The request does not agree with the stored data; nothing was changed."},
	{code: "FE_", fr: "La demande est fausse sur le fond ; rien n'a été modifié.", en: "The request is wrong in content; nothing was changed."},
	{code: "TE_", fr: "La demande est fausse sur la forme ; rien n'a été modifié.", en: "The request is wrong in form; nothing was changed."},
	{code: "FI_", fr: "Défaut interne du système ; l'effet est inconnu.", en: "A fault inside the system; the effect is not known."},
	{code: "TI_", fr: "Défaut technique du système ; l'effet est inconnu.", en: "A technical fault of the system; the effect is not known."},
	{code: "WF_", fr: "Défaut dans le déroulement ; l'effet est inconnu.", en: "A fault in the workflow; the effect is not known."},
}
