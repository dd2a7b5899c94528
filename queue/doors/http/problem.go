package httpdoor

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"decom/worker/scan"
)

// Problem is an error answer (RFC 9457, application/problem+json), or that of one item.
// Code is a stable word of a closed set; Message says what happened and what to do, in
// French and English; Detail is the one in the language that Accept-Language asks for.
type Problem struct {
	Type    string    `json:"type"` // urn:decom:problem:CODE
	Title   string    `json:"title"`
	Status  int       `json:"status"`
	Code    string    `json:"code"`
	Detail  string    `json:"detail"`
	Message scan.Text `json:"message"`
	Why     string    `json:"why,omitempty"` // of a malformed scan: field and fault, English, for programmers
	Items   []Receipt `json:"items,omitempty"`
	retry   time.Duration
}

// kind is a row of the closed set of problems.
type kind struct {
	status int
	code   string
	title  string
	text   scan.Text
}

var (
	noToken     = kind{401, "no_token", "Token missing or unknown", scan.Text{FR: "Jeton absent ou inconnu : envoyez « Authorization: Bearer JETON » avec le jeton de cet appareil.", EN: "The token is missing or unknown: send \"Authorization: Bearer TOKEN\" with this device's token."}}
	otherSource = kind{403, "other_source", "Another site or device", scan.Text{FR: "Ce jeton ne vaut pas pour ce site ou cet appareil : ôtez site= et device=, ou prenez le bon jeton.", EN: "This token is not for that site or device: leave site= and device= out, or use the right token."}}
	whichDevice = kind{400, "which_device", "Device missing", scan.Text{FR: "Ce jeton vaut pour tout le site : dites l'appareil avec ?device=NOM.", EN: "This token is for the whole site: name the device with ?device=NAME."}}
	notFound    = kind{404, "not_found", "No such address", scan.Text{FR: "Cette adresse n'existe pas : voyez le fichier OpenAPI.", EN: "There is no such address: see the OpenAPI file."}}
	badMethod   = kind{405, "method", "Method not allowed", scan.Text{FR: "Cette adresse n'accepte pas cette méthode : voyez le fichier OpenAPI.", EN: "This address does not take that method: see the OpenAPI file."}}
	badType     = kind{415, "content_type", "Content type not supported", scan.Text{FR: "Type de contenu non pris en charge : envoyez application/json, application/x-ndjson ou text/plain, sans compression.", EN: "This content type is not supported: send application/json, application/x-ndjson or text/plain, uncompressed."}}
	badBody     = kind{400, "unreadable", "Body cannot be read", scan.Text{FR: "Le corps de la requête n'est pas lisible : rien n'a été enregistré.", EN: "The body of the request cannot be read: nothing was stored."}}
	noScan      = kind{400, "empty", "No scan", scan.Text{FR: "La requête ne contient aucun scan.", EN: "The request holds no scan."}}
	badKey      = kind{400, "idempotency_key", "Idempotency-Key unusable", scan.Text{FR: "Idempotency-Key doit faire 1 à 64 caractères ASCII imprimables : rien n'a été enregistré.", EN: "Idempotency-Key must be 1 to 64 printable ASCII characters: nothing was stored."}}
	badQuery    = kind{400, "parameter", "Parameter unusable", scan.Text{FR: "Un paramètre de l'adresse n'est pas utilisable : voyez « why ».", EN: "A parameter of the address cannot be used: see \"why\"."}}
	tooLarge    = kind{413, "too_large", "Too large", scan.Text{FR: "Trop grand : rien n'en a été enregistré ; envoyez moins de scans à la fois.", EN: "Too large: nothing of it was stored; send fewer scans at once."}}
	tooSlow     = kind{408, "too_slow", "Body did not arrive in time", scan.Text{FR: "Le corps n'est pas arrivé à temps : rien n'a été enregistré ; envoyez-le de nouveau.", EN: "The body did not arrive in time: nothing was stored; send it again."}}
	malformed   = kind{400, "malformed", "Not a scan event", scan.Text{FR: "Ceci n'est pas un scan : rien n'en a été enregistré ; voyez « why ».", EN: "This is not a scan event: nothing of it was stored; see \"why\"."}}
	idReused    = kind{422, "id_reused", "Id used before", scan.Text{FR: "Cet identifiant a déjà servi pour un autre scan : rien n'a été enregistré ; donnez-en un nouveau.", EN: "This id was used for another scan already: nothing was stored; give a new one."}}
	tooFast     = kind{429, "too_fast", "Too fast", scan.Text{FR: "Cet appareil envoie trop vite : rien n'a été enregistré ; renvoyez après le délai de Retry-After.", EN: "This device sends too fast: nothing was stored; send it again after Retry-After."}}
	tooMany     = kind{429, "too_many", "Too many requests at once", scan.Text{FR: "Cet appareil a trop de requêtes en cours : rien n'a été enregistré ; renvoyez après le délai de Retry-After.", EN: "This device has too many requests under way: nothing was stored; send it again after Retry-After."}}
	away        = kind{503, "queue_away", "Queue away", scan.Text{FR: "La file d'attente est injoignable : rien n'a été enregistré ; renvoyez après le délai de Retry-After, avec le même identifiant.", EN: "The queue cannot be reached: nothing was stored; send it again after Retry-After, under the same id."}}
	notStored   = kind{503, "not_acknowledged", "Not acknowledged", scan.Text{FR: "La file d'attente n'a pas confirmé l'enregistrement : renvoyez après le délai de Retry-After, avec le même identifiant.", EN: "The queue did not acknowledge it: send it again after Retry-After, under the same id."}}
	partly      = kind{503, "partly_stored", "Partly stored", scan.Text{FR: "Une partie seulement est enregistrée, voyez « items » : renvoyez tout après le délai de Retry-After, avec les mêmes identifiants.", EN: "Only a part is stored, see \"items\": send all of it again after Retry-After, under the same ids."}}
	noneStored  = kind{400, "none_stored", "Nothing stored", scan.Text{FR: "Aucun scan n'a pu être enregistré : voyez « items ».", EN: "No scan could be stored: see \"items\"."}}
	noPacks     = kind{501, "no_packs", "Packs not known here", scan.Text{FR: "Cette passerelle ne connaît pas l'état des boîtes : demandez à « decom pack ».", EN: "This gateway does not know the state of packs: ask \"decom pack\"."}}
	badPack     = kind{400, "not_a_pack", "Not a pack", scan.Text{FR: "Ce n'est pas un code produit (GTIN, CIP13 ou PPN) et un numéro de série.", EN: "This is no product code (GTIN, CIP13 or PPN) and serial."}}
	noAnswer    = kind{503, "no_answer", "No answer", scan.Text{FR: "L'état n'a pas pu être lu : redemandez après le délai de Retry-After.", EN: "The state could not be read: ask again after Retry-After."}}
)

// Kinds returns the code of every problem with its HTTP status, for the test that
// compares them with the OpenAPI file.
func Kinds() map[string]int {
	all := map[string]int{}
	for _, k := range []kind{noToken, otherSource, whichDevice, notFound, badMethod, badType, badBody, noScan, badKey, badQuery,
		tooLarge, tooSlow, malformed, idReused, tooFast, tooMany, away, notStored, partly, noneStored, noPacks, badPack, noAnswer} {
		all[k.code] = k.status
	}
	return all
}

// problem makes the answer in French or English; why may be "".
func (k kind) problem(r *http.Request, why string) *Problem {
	p := &Problem{Type: "urn:decom:problem:" + k.code, Title: k.title, Status: k.status, Code: k.code, Message: k.text, Why: why}
	p.Detail = k.text.EN
	if inFrench(r) {
		p.Detail = k.text.FR
	}
	return p
}

// inFrench says whether the caller would rather read French: the first of fr and en that
// Accept-Language names.
func inFrench(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		switch tag := strings.ToLower(strings.TrimSpace(part)); {
		case strings.HasPrefix(tag, "fr"):
			return true
		case strings.HasPrefix(tag, "en"):
			return false
		}
	}
	return false
}

// retryAfter is what a caller is told to wait where nothing better is known.
const retryAfter = 5 * time.Second

// write sends the problem. A body that was not read ends the connection.
func (p *Problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", "en")
	if p.Detail == p.Message.FR {
		h.Set("Content-Language", "fr")
	}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="decom"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		wait := p.retry
		if wait <= 0 {
			wait = retryAfter
		}
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller went away
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s", p.Status, p.Code) }
