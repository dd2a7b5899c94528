package report

import (
	"slices"
	"strings"
)

// region is one of the eighteen regions of France, or a territory overseas.
type region struct {
	name     string
	overseas bool
}

// regions are those that the authorities count by (domain.md section 11).
var regions = []region{
	{"Auvergne-Rhône-Alpes", false}, {"Bourgogne-Franche-Comté", false}, {"Bretagne", false}, {"Centre-Val de Loire", false},
	{"Corse", false}, {"Grand Est", false}, {"Hauts-de-France", false}, {"Île-de-France", false}, {"Normandie", false},
	{"Nouvelle-Aquitaine", false}, {"Occitanie", false}, {"Pays de la Loire", false}, {"Provence-Alpes-Côte d'Azur", false},
	{"Guadeloupe", true}, {"Martinique", true}, {"Guyane", true}, {"La Réunion", true}, {"Mayotte", true},
	{"Saint-Pierre-et-Miquelon", true}, {"Saint-Barthélemy", true}, {"Saint-Martin", true}, {"Wallis-et-Futuna", true},
	{"Polynésie française", true}, {"Nouvelle-Calédonie", true},
}

// Regions returns the names that are known.
func Regions() []string {
	names := make([]string, len(regions))
	for i, r := range regions {
		names[i] = r.name
	}
	return names
}

// Region returns the official spelling of a region's name, and whether it is one. Case, accents,
// hyphens and apostrophes do not matter.
func Region(name string) (string, bool) {
	i := slices.IndexFunc(regions, func(r region) bool { return plain(r.name) == plain(name) })
	if i < 0 {
		return name, false
	}
	return regions[i].name, true
}

// IsOverseas says whether the region is a territory overseas; official spelling.
func IsOverseas(name string) bool {
	return slices.ContainsFunc(regions, func(r region) bool { return r.name == name && r.overseas })
}

var unaccented = strings.NewReplacer("é", "e", "è", "e", "ê", "e", "ô", "o", "î", "i", "ç", "c", "É", "e", "Î", "i", "Ô", "o", "-", " ", "'", " ", "’", " ")

func plain(name string) string { return strings.ToLower(unaccented.Replace(strings.TrimSpace(name))) }
