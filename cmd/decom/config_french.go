package main

import (
	"errors"
	"fmt"
	"strings"

	"decom/nmvs"
	"decom/worker/scan"
)

// What is wrong with a configuration is said in French, too. Those who find it say it once, in
// English; this table has the same sentence in French, with the same values in the same order.
// What is missing here is said in English; a test reads the sources and tells of it.

// colon stands between a key and what is wrong with it.
var colon = scan.Text{FR: " : ", EN: ": "}

// bothf puts a sentence of the configuration together in both languages. Values that have a
// French text of their own (scan.Text, errors of spokenf) are said in it.
func bothf(format string, args ...any) scan.Text {
	fr, ok := configFrench[format]
	if !ok {
		fr = format
	}
	in := func(l language) []any {
		list := make([]any, len(args))
		for i, arg := range args {
			switch v := arg.(type) {
			case scan.Text:
				list[i] = l.of(v)
			case error:
				list[i] = l.inLanguage(v)
			default:
				list[i] = arg
			}
		}
		return list
	}
	return scan.Text{FR: fmt.Sprintf(fr, in(french)...), EN: fmt.Sprintf(format, in(english)...)}
}

// spokenRate says what a rate wants. The cause is what ratelimit says.
func spokenRate(text string, err error) error {
	return spokenf("cadence %[1]q : un nombre d'appels par durée, comme 5/s, 6/min ou 1/10s", "%[2]w", text, err)
}

// spokenCertificate says in both languages what is wrong with a client certificate.
func spokenCertificate(err error) error {
	e, ok := errors.AsType[*nmvs.CertError](err)
	if !ok {
		return err
	}
	why, known := certificateFrench[e.Why]
	if on, expired := strings.CutPrefix(e.Why, "it expired on "); expired {
		why, known = "il a expiré le "+on, true
	}
	if !known {
		why = e.Why
	}
	return spokenf("certificat client %[1]s : %[2]s", "%[3]w", e.File, why, err)
}

// certificateFrench has what nmvs says of a certificate. What is missing here is said in English.
var certificateFrench = map[string]string{
	"the passphrase is wrong":                                   "la phrase secrète n'est pas la bonne",
	"it is not a PKCS#12 file with one certificate and its key": "ce n'est pas un fichier PKCS#12 avec un certificat et sa clé",
	"the key does not match the certificate":                    "la clé ne va pas avec le certificat",
	"certificate and key cannot be used together":               "certificat et clé ne peuvent pas servir ensemble",
}

// configFrench is by the English format. Read-only.
var configFrench = map[string]string{
	"%s (from %s)": "%s (de %s)",
	"%v (from %s)": "%v (de %s)",
	"%s: %s":       "%s : %s",
	"%s: %v":       "%s : %v",
	"%s or %s":     "%s ou %s",

	// The file itself.
	"has several documents (---), wants one": "contient plusieurs documents (---), un seul est attendu",
	"<<: must come before the other keys":    "<< : doit précéder les autres clés",
	"unknown key%s":                          "clé inconnue%s",
	", did you mean %s?":                     " ; vouliez-vous dire %s ?",
	"has %s, wants %s":                       "contient %s, attend %s",
	"text":                                   "du texte",
	"a whole number":                         "un nombre entier",
	"a number":                               "un nombre",
	"true or false":                          "true ou false",
	"a list of texts":                        "une liste de textes",
	"a list":                                 "une liste",
	"a group of keys":                        "un groupe de clés",
	"a duration with its unit, as 3s, 20m or 24h": "une durée avec son unité, comme 3s, 20m ou 24h",
	"--set %s: wants key=value":                   "--set %s : attend clé=valeur",
	"--set %s: %v":                                "--set %s : %v",
	"--set %s: unknown key%s":                     "--set %s : clé inconnue%s",
	"%s is set, but there is no such key%s":       "%s est défini, mais cette clé n'existe pas%s",

	// Values of any key.
	"%q is not %s%s":                        "%q n'est pas %s%s",
	"%s is a folder, wants a file":          "%s est un dossier, un fichier est attendu",
	"is given beside %s: give one of them":  "est donné à côté de %s : n'en donner qu'un",
	"is missing":                            "manque",
	"is empty":                              "est vide",
	"%q is not host:port":                   "%q n'est pas hôte:port",
	"%q must be 1 to 64 of A-Z a-z 0-9 _ -": "%q : de 1 à 64 caractères parmi A-Z a-z 0-9 _ -",
	"%s: must be more than 0":               "%s : doit être supérieur à 0",
	"%d: must be more than 0":               "%d : doit être supérieur à 0",
	"%v: must be 0s to 1s":                  "%v : de 0s à 1s",
	"%v: must be 0 to 1":                    "%v : de 0 à 1",
	"%d: must be 0 to 1000":                 "%d : de 0 à 1000",
	"%d: must be 1 to 64":                   "%d : de 1 à 64",
	"%s stands in the configuration file; use %s or the environment in production": "%s se trouve dans le fichier de configuration ; en production, utiliser %s ou l'environnement",
	"%s was given by --set: other users of this machine can read command lines":    "%s a été donné par --set : les autres utilisateurs de cette machine peuvent lire les lignes de commande",

	// nats, redis, nmvs.
	"%q is not an address as nats://host:4222 or tls://host:4222":                   "%q n'est pas une adresse comme nats://hote:4222 ou tls://hote:4222",
	"%d: streams have 1, 3 or 5 replicas":                                           "%d : les flux ont 1, 3 ou 5 répliques",
	"%d: the embedded server keeps one copy; give nats.url":                         "%d : le serveur intégré ne garde qu'une copie ; donner nats.url",
	"give one login of nats.creds, nats.nkey and nats.user":                         "ne donner qu'un identifiant parmi nats.creds, nats.nkey et nats.user",
	"is missing beside the password":                                                "manque à côté du mot de passe",
	"nats.url holds a password; use nats.user and nats.password_file in production": "nats.url contient un mot de passe ; en production, utiliser nats.user et nats.password_file",
	"%q is not an address as redis://host:6379/0, rediss://... or unix:///path":     "%q n'est pas une adresse comme redis://hote:6379/0, rediss://... ou unix:///chemin",
	"is given beside redis.url: give one of them":                                   "est donné à côté de redis.url : n'en donner qu'un",
	"redis.url holds a password; use redis.password_file in production":             "redis.url contient un mot de passe ; en production, utiliser redis.password_file",
	"needs the Sentinels in redis.addrs":                                            "demande les Sentinels dans redis.addrs",
	"%d: interface versions are 2 to 5":                                             "%d : les versions de l'interface vont de 2 à 5",
	"%q is not an https:// address":                                                 "%q n'est pas une adresse https://",
	"is missing: every account verifies through the single service":                 "manque : chaque compte vérifie par le service unitaire",
	"%s holds no PEM certificate":                                                   "%s ne contient pas de certificat PEM",

	// protocol.
	"%d: 0, 1 or 2": "%d : 0, 1 ou 2",
	"%s: must be more than t_send + t_reuse (%s), or a late copy of a call could meet its repetition":                                "%s : doit dépasser t_send + t_reuse (%s), sinon une copie tardive d'un appel pourrait rencontrer sa répétition",
	"%s%s is %s, not more than t_send + nmvs.idle_timeout + nmvs.longest_call (%s): a late copy of a call could meet its repetition": "%s%s vaut %s, pas plus que t_send + nmvs.idle_timeout + nmvs.longest_call (%s) : une copie tardive d'un appel pourrait rencontrer sa répétition",
	"%s%s is %s, not more than t_send + t_reuse + t_http (%s): only safe where NMVS answers faster than that":                        "%s%s vaut %s, pas plus que t_send + t_reuse + t_http (%s) : sûr seulement là où le NMVS répond plus vite",

	// accounts.
	"is empty: give at least one NMVS login and its sites":                                               "est vide : donner au moins un identifiant NMVS et ses sites",
	"%q is accounts.%d already":                                                                          "%q est déjà accounts.%d",
	"is empty: an account answers for at least one site":                                                 "est vide : un compte répond d'au moins un site",
	"%q stands twice in this account":                                                                    "%q figure deux fois dans ce compte",
	"%q belongs to account %q already: a site has one account":                                           "%q appartient déjà au compte %q : un site a un seul compte",
	"%q must be 1 to 20 of A-Z a-z 0-9 -":                                                                "%q : de 1 à 20 caractères parmi A-Z a-z 0-9 -",
	"%q must be 4 to 20 of A-Z a-z 0-9 -":                                                                "%q : de 4 à 20 caractères parmi A-Z a-z 0-9 -",
	"%d: must be 1 to 1000, the most that one ledger record holds":                                       "%d : de 1 à 1000, le plus que tient un enregistrement du registre",
	"is missing: give password_file, or the password by environment":                                     "manque : donner password_file, ou le mot de passe par l'environnement",
	"%s needs nmvs.endpoints.%s":                                                                         "%s demande nmvs.endpoints.%s",
	"is given beside certificate_file or key_file: give one kind":                                        "est donné à côté de certificate_file ou key_file : n'en donner qu'une sorte",
	"is missing: a PKCS#12 file, or certificate_file and key_file in PEM":                                "manque : un fichier PKCS#12, ou certificate_file et key_file en PEM",
	"is missing beside certificate_file":                                                                 "manque à côté de certificate_file",
	"is missing beside key_file":                                                                         "manque à côté de key_file",
	"%scertificate: %v: nothing is sent for account %s until the file is replaced, no restart is needed": "%scertificate : %v : rien n'est envoyé pour le compte %s avant que le fichier soit remplacé, sans redémarrage",
	"%scertificate ends on %s: renew it":                                                                 "%scertificate se termine le %s : le renouveler",
	"holds no password of NMVS: it must be 8 to 60 printable characters":                                 "ne contient pas de mot de passe du NMVS : de 8 à 60 caractères imprimables",

	// devices, consolidated.
	"%q: write goods-in (at goods-in, à la réception), robot-input (on robot input, à l'entrée du robot) or exit (at exit, à la sortie)": "%q : écrire goods-in (à la réception), robot-input (à l'entrée du robot) ou exit (à la sortie)",
	"%q is no pattern of A-Z a-z 0-9 _ - and *": "%q n'est pas un motif de A-Z a-z 0-9 _ - et *",
	"%q is consolidated.senders.%d already":     "%q est déjà consolidated.senders.%d",

	"%q must be 9 digits, or in Corsica 2A or 2B and 7":                                               "%q : 9 chiffres, ou en Corse 2A ou 2B et 7",
	"%sregion: %q is no French region or territory overseas%s":                                        "%sregion : %q n'est ni une région française ni un territoire d'outre-mer%s",
	"%v: must be 1s to 1h":                                                                            "%v : de 1s à 1h",
	"%s: must not be negative":                                                                        "%s : ne doit pas être négatif",
	"must be 1 to 64 of A-Z a-z 0-9 _ -":                                                              "de 1 à 64 caractères parmi A-Z a-z 0-9 _ -",
	"must be 1 to 64 of A-Z a-z 0-9 _ -, or nothing for every device of the site":                     "de 1 à 64 caractères parmi A-Z a-z 0-9 _ -, ou rien pour tous les appareils du site",
	"%s/%s is that of doors.consolidated.%d already":                                                  "%s/%s est déjà celui de doors.consolidated.%d",
	"doors.consolidated.%d receives nothing: consolidated.senders names nobody whose files are taken": "doors.consolidated.%d ne reçoit rien : consolidated.senders ne nomme personne dont les fichiers soient pris",

	// This process.
	"%q: pprof listens on the loopback address only":                                                    "%q : pprof n'écoute que sur l'adresse de boucle locale",
	"log.serials: serial numbers go into the log":                                                       "log.serials : les numéros de série vont dans le journal",
	"wants the collector's address as http://127.0.0.1:4318 or https://host/v1/traces, without a login": "attend l'adresse du collecteur, comme http://127.0.0.1:4318 ou https://hote/v1/traces, sans identifiant",

	// doors.
	"%s is watched by doors.files.%d already":                                                                                            "%s est déjà surveillé par doors.files.%d",
	"there is no folder %s: make it, or mount its drive":                                                                                 "le dossier %s n'existe pas : le créer, ou monter son disque",
	"%s/%s is that of doors.wwks2.%d already: a robot has a device of its own":                                                           "%s/%s est déjà celui de doors.wwks2.%d : chaque robot a son appareil",
	"%d: must be 65536 to 67108864 bytes; one event may have 65536":                                                                      "%d : de 65536 à 67108864 octets ; un événement peut en avoir 65536",
	"certificate_file and key_file go together: give both or none":                                                                       "certificate_file et key_file vont ensemble : donner les deux ou aucun",
	"%q is %s already: give the door a port of its own":                                                                                  "%q est déjà %s : donner à la porte un port à elle",
	"is missing: make the file with decom gateway token --file FILE --site SITE --device DEVICE":                                         "manque : créer le fichier avec decom gateway token --file FICHIER --site SITE --device APPAREIL",
	"%slisten %s without certificate_file: tokens and serials cross the network in the clear":                                            "%slisten %s sans certificate_file : jetons et numéros de série traversent le réseau en clair",
	"is for the server at nats.url, and there is none: give doors.mqtt.listen instead":                                                   "est pour le serveur de nats.url, et il n'y en a pas : donner plutôt doors.mqtt.listen",
	"is the embedded NATS server's, and nats.url names another server: open MQTT there (README, Doors) and set doors.mqtt.outside: true": "est celui du serveur NATS intégré, et nats.url nomme un autre serveur : y ouvrir MQTT (README, Doors) et mettre doors.mqtt.outside: true",
	"is %s, and the profile of %s/%s (devices) says %s: give it in one place":                                                            "vaut %s, et le profil de %s/%s (devices) dit %s : le donner à un seul endroit",
	"%s is that of doors.wwks2.%d already: each robot has a port of its own":                                                             "%s est déjà celui de doors.wwks2.%d : chaque robot a son port",
}
