"""The word of the day against imitation: the same on every kiosk of a venue, another one each day, known to its staff.

It is drawn with the venue's secret from the bundle, so that a painted screen cannot show tomorrow's word.
"""

from __future__ import annotations

import hmac
from functools import lru_cache

from kiosk.screen_state import Text

# Common things with one plain word in both languages, easy to call across a queue.
WORDS: tuple[Text, ...] = tuple(
    Text(*pair.split("/"))
    for pair in (
        "苹果/apple 竹子/bamboo 小船/boat 面包/bread 大桥/bridge 蜡烛/candle"
        " 樱桃/cherry 云朵/cloud 珊瑚/coral 海豚/dolphin 老鹰/eagle 羽毛/feather"
        " 森林/forest 狐狸/fox 花园/garden 葡萄/grape 港口/harbour 锤子/hammer"
        " 蜂蜜/honey 岛屿/island 钥匙/key 灯笼/lantern 柠檬/lemon 荷花/lotus"
        " 枫叶/maple 月亮/moon 高山/mountain 海洋/ocean 橙子/orange 熊猫/panda"
        " 珍珠/pearl 松树/pine 雨伞/umbrella 河流/river 玫瑰/rose 帆船/sail"
        " 雪花/snow 麻雀/sparrow 星星/star 燕子/swallow 茶壶/teapot 老虎/tiger"
        " 宝塔/tower 山谷/valley 核桃/walnut 瀑布/waterfall 小麦/wheat 风车/windmill"
    ).split()
)


@lru_cache(maxsize=4)  # asked for with every picture of the screen, and changes once a day
def day_word(venue_key: bytes, day: str) -> Text:
    """The word of *day* ("2026-11-21") for a venue's secret; an empty text without a secret."""
    if not venue_key:
        return Text("", "")
    digest = hmac.digest(venue_key, b"gatehouse day word 1" + day.encode(), "sha256")
    return WORDS[int.from_bytes(digest[:8], "big") % len(WORDS)]
