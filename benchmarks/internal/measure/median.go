package measure

import "slices"

// medianOf returns the middle one of what pick makes of the items, the mean of the middle two if they are even.
func medianOf[T any](items []T, pick func(T) float64) float64 {
	values := sorted(items, pick)
	if len(values) == 0 {
		return 0
	}
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func extremes[T any](items []T, pick func(T) float64) (least, most float64) {
	values := sorted(items, pick)
	if len(values) == 0 {
		return 0, 0
	}
	return values[0], values[len(values)-1]
}

func sorted[T any](items []T, pick func(T) float64) []float64 {
	values := make([]float64, 0, len(items))
	for _, item := range items {
		values = append(values, pick(item))
	}
	slices.Sort(values)
	return values
}
