package php

import "time"

// object reads 8:"stdClass":2:{key value key value}. Neither stdClass nor PHP's dates
// have anything that could run: what their classes keep is all written out. Any other
// class is the application's, or one whose values mean nothing without PHP.
func (p *parser) object(depth int) (any, error) {
	class, err := p.bytes()
	if err != nil || !p.accept(':') {
		return nil, ErrCorrupt
	}
	switch class {
	case "stdClass", "DateTime", "DateTimeImmutable":
	default:
		return nil, ErrObject
	}
	properties, err := p.array(depth)
	if err != nil {
		return nil, err
	}
	m, ok := properties.(map[string]any)
	if !ok {
		m = byIndex(properties.([]any))
	}
	if class == "stdClass" {
		return m, nil
	}
	return date(m), nil
}

// date returns the time that the properties of a DateTime tell, or the properties if
// their time zone is not known here.
func date(properties map[string]any) any {
	text, _ := properties["date"].(string)
	zone, _ := properties["timezone"].(string)
	kind, _ := properties["timezone_type"].(int64)
	where := time.UTC
	switch kind {
	case 1: // an offset
		t, err := time.Parse("-07:00", zone)
		if err != nil {
			return properties
		}
		where = t.Location()
	case 3: // a name
		named, err := time.LoadLocation(zone)
		if err != nil || zone == "" || zone == "Local" {
			return properties
		}
		where = named
	default: // an abbreviation, which may mean several
		if zone != "UTC" && zone != "Z" {
			return properties
		}
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05.999999", text, where)
	if err != nil {
		return properties
	}
	return t
}
