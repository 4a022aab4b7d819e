// Who stands beside whom: what overlaps shares its column's width.

/** Give each of `items` (`start` and `end` in minutes) its `lane` and how many `lanes` share the width there. */
export function lay(items) {
  const placed = [...items].sort((a, b) => a.start - b.start || b.end - a.end);
  let group = [];
  let groupEnd = -Infinity;
  for (const item of placed) {
    if (item.start >= groupEnd) {
      share(group);
      group = [];
    }
    group.push(item);
    groupEnd = Math.max(groupEnd, item.end);
  }
  share(group);
  return placed;
}

function share(group) {
  const ends = [];
  for (const item of group) {
    const free = ends.findIndex((end) => end <= item.start);
    item.lane = free < 0 ? ends.length : free;
    ends[item.lane] = item.end;
  }
  for (const item of group) item.lanes = ends.length;
}
