// Owns images that the source sent in part: the missing columns come from the row's image before, which for
// the second half of a changed key is the old key's. Knows no interval: what a row looked like before does
// not depend on who closed it.
import { transactionOf } from '../../change/order.ts';
import { type FoldContext, type Item, indexBelow, type Timeline } from './scd2-timeline.ts';

type Pending<Image> = { item: Item<Image>; timeline: Timeline<Image> };

const imageBelow = <Image>(timeline: Timeline<Image> | undefined, item: Item<Image>): Image | null => {
  if (timeline === undefined) return null;
  for (let at = indexBelow(timeline.items, item.order); at >= 0; at--) {
    const base = timeline.items[at] as Item<Image>;
    if (base.closes === null) return base.image;
  }
  return null;
};

/**
 * Completes every partial image whose base is new or may have changed, over all keys in one global order,
 * so that a base is whole before what rests on it. Lowers `first` of a key whose stored image turns out
 * different.
 */
export const carryImages = <Image>(
  timelines: ReadonlyMap<string, Timeline<Image>>,
  { images }: FoldContext<Image>,
): void => {
  const pending: Pending<Image>[] = [];
  for (const timeline of timelines.values()) {
    for (const item of timeline.items)
      if (item.unchanged.length > 0 && item.closes === null) pending.push({ item, timeline });
  }
  pending.sort((a, b) => (a.item.order < b.item.order ? -1 : 1));
  for (const { item, timeline } of pending) {
    const base = item.origin === null ? timeline : timelines.get(item.origin);
    const isNew = item.version === null && item.mark === null;
    if (!isNew && !(base?.first != null && base.first < item.order)) continue;
    const image = images.carry(imageBelow(base, item), item.image as Image, item.unchanged);
    if (!isNew && images.same(image, item.image as Image, item.order)) continue;
    item.image = image;
    const transaction = transactionOf(item.order);
    if (timeline.first === null || transaction < timeline.first) timeline.first = transaction;
  }
};
