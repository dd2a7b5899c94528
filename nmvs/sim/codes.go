package sim

// The return codes that the simulator answers (nmvs-interface.md 1.13).
const (
	codeSuccess      = "NMVS_SUCCESS"
	codeError        = "NMVS_ERROR"
	codeNotXML       = "NMVS_TE_XM_01"
	codeSchema       = "NMVS_TE_XM_02"
	codeTrxUsed      = "NMVS_TE_TX_01"
	codeNoEndpoint   = "NMVS_TE_REQ_02"
	codeBadRequest   = "NMVS_FE_REQ_02"
	codeNotReady     = "NMVS_FE_TX_02"
	codeRefSupply    = "NMVS_FE_TX_01"
	codeRefDestroy   = "NMVS_FE_TX_03"
	codeRefOther     = "NMVS_FE_TX_05"
	codeTooFast      = "NMVS_FI_SE_CLI_01"
	codeBusy         = "NMVS_FI_BAT_01"
	codeNoProduct    = "NMVS_NC_PC_01"
	codeNoSerial     = "NMVS_NC_PC_02"
	codeNoBatch      = "NMVS_FE_LOT_03"
	codeExpiryOld    = "NMVS_FE_LOT_06"
	codeBadDate      = "NMVS_FE_LOT_07"
	codeExpiry       = "NMVS_FE_LOT_12"
	codeOtherBatch   = "NMVS_FE_LOT_13"
	codeRecalled     = "NMVS_FE_LOT_01"
	codeWithdrawn    = "NMVS_FE_LOT_08"
	codeExpired      = "NMVS_NC_PCK_02"
	codeInactive     = "NMVS_NC_PCK_22"
	codePropertySet  = "NMVS_NC_PCK_19"
	codeRepeat       = "NMVS_NC_PCK_23"
	codeForeignState = "NMVS_NC_PCK_27"
	codeUndoState    = "NMVS_NC_PCK_06"
	codeLateSupply   = "NMVS_NC_PCK_05"
	codeLateDestroy  = "NMVS_NC_PCK_13"
	codeLateOther    = "NMVS_NC_PCK_20"
	codeOtherUser    = "NMVS_NC_PCK_21"
	codeSomeFailed   = "NMVS_NC_PCK_24"
	codeAllFailed    = "NMVS_NC_PCK_17"
	codeGTINForm     = "NMVS_FE_GR_01"
	codePPNForm      = "NMVS_FE_GR_02"

	codeBadLogin     = "NMVS_FE_AU_01"
	codeLocked       = "NMVS_FE_AU_02"
	codeNoClient     = "NMVS_FE_AU_04"
	codeLockedNow    = "NMVS_FE_AU_05"
	codeNoProductFor = "NMVS_FE_AU_08"
	codeBadCurrent   = "NMVS_FE_AU_10"
	codePassword     = "NMVS_FE_AU_11"
	codeNoRight      = "NMVS_FE_AU_15"
	codeTermsDue     = "NMVS_FE_AU_23"
	codeNewGiven     = "NMVS_FE_AU_24"
	codeCertificate  = "NMVS_FE_PKI_05"
	codePwSame       = "NMVS_FE_PMS_02"
	codePwOld        = "NMVS_FE_PMS_03"
	codePwPolicy     = "NMVS_FE_PMS_04"
	codeTermsDone    = "NMVS_NC_PMS_23"
	codeNoTerms      = "NMVS_NC_PMS_24"

	noteOldPassword = "NMVS_NOTIFY_AU_01"
	noteExpiring    = "NMVS_NOTIFY_AU_02"
	noteTerms       = "NMVS_NOTIFY_PMS_01"
)

// descs is never written. Texts are ours; nobody may branch on them.
var descs = map[string]string{
	codeSuccess: "Processed.", codeError: "General technical exception.",
	codeNotXML: "Request is not well-formed.", codeSchema: "Request is not valid against the schema.",
	codeTrxUsed: "Client transaction id was already used.", codeNoEndpoint: "No such web service endpoint.",
	codeBadRequest: "Data do not fit the request type.", codeNotReady: "Bulk transaction id is not available.",
	codeRefSupply: "Reference is not the transaction of the dispense.", codeRefDestroy: "Reference is not the transaction of the destruction.",
	codeRefOther: "Reference is not the transaction of the change.", codeTooFast: "Allowed sending frequency exceeded.",
	codeBusy: "A process for this action is running already.", codeNoProduct: "Product code not known.",
	codeNoSerial: "Serial number not known.", codeNoBatch: "Batch not known.", codeExpiryOld: "Expiry date differs.",
	codeBadDate: "Expiry date is not a date.", codeExpiry: "Expiry date differs.", codeOtherBatch: "Batch does not belong to the serial number.",
	codeRecalled: "Batch is recalled.", codeWithdrawn: "Batch or product is withdrawn.", codeExpired: "Pack is expired.",
	codeInactive: "Pack is inactive already.", codePropertySet: "Property is set already.", codeRepeat: "Property set again by a double scan.",
	codeForeignState: "State change could not be carried out.", codeUndoState: "Undo does not match the state.",
	codeLateSupply: "Undo of dispense is too late.", codeLateDestroy: "Undo of destruction is too late.", codeLateOther: "Undo is too late.",
	codeOtherUser: "Undo by another user.", codeSomeFailed: "At least one serial was not processed.", codeAllFailed: "No serial could be validated.",
	codeGTINForm: "Product code is not valid.", codePPNForm: "Check digits of the PPN are wrong.",
	codeBadLogin: "User and password do not match.", codeLocked: "User is locked.", codeNoClient: "Client does not exist.",
	codeLockedNow: "Too many failed logins, account is locked.", codeNoProductFor: "No right for this product.",
	codeBadCurrent: "Current password is wrong.", codePassword: "Password is expired or initial.", codeNoRight: "No right for this process.",
	codeTermsDue: "Terms were not accepted in time.", codeNewGiven: "A new password was given already.", codeCertificate: "User has no valid certificate.",
	codePwSame: "New password equals the old.", codePwOld: "New password is one of the last 20.", codePwPolicy: "New password breaks the policy.",
	codeTermsDone: "Terms are confirmed already.", codeNoTerms: "No terms available.",
}

// alertKinds says which codes raise an alert, and its kind (1.13, 1.14). PCK_20
// and PCK_21 are marked so by one list only; the simulator takes the strict side.
var alertKinds = map[string]string{
	codeNoSerial: "A3", codeNoBatch: "A2", codeExpiry: "A52", codeExpiryOld: "A52", codeOtherBatch: "A68",
	codeInactive: "A24", "NMVS_NC_PCK_11": "A24", codePropertySet: "A7", codeForeignState: "A24",
	codeUndoState: "A24", "NMVS_NC_PCK_04": "A24", "NMVS_NC_PCK_07": "A24", "NMVS_NC_PCK_14": "A24",
	codeOtherUser: "A5", codeLateOther: "A24",
}

// twins are the codes of V5 that say the same without an alert.
var twins = map[string]string{
	codeNoSerial: "NMVS_NC_PC_14", codeNoBatch: "NMVS_FE_LOT_15", codeExpiry: "NMVS_FE_LOT_17", codeOtherBatch: "NMVS_FE_LOT_18",
	codePropertySet: "NMVS_NC_PCK_28", codeInactive: "NMVS_NC_PCK_30", codeForeignState: "NMVS_NC_PCK_31", codeUndoState: "NMVS_NC_PCK_29",
}
